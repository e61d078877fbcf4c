/*
 * apart.h - keeping a function out of the one that calls it last.
 *
 * The quick way of a call (runtime/quick.h) calls nothing, so it needs no frame and saves no register; the general
 * way, were it made part of it, would have it do both.
 */
#ifndef DMI_APART_H
#define DMI_APART_H

#define DMI_APART __attribute__((noinline))

#endif
