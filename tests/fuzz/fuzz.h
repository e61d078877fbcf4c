/*
 * fuzz.h - what a target is: one function over bytes that a stranger may have written. libFuzzer calls it (./dev
 * fuzz), and replay.c does with what lies in corpus/NAME, in every run of the suite.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

#endif
