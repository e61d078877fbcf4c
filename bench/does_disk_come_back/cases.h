/*
 * cases.h - what is done here, and what is reported of it.
 *
 * MODELS fits after each other in one session, each in a scope of its own: values of four times the store
 * are made, then read in order, each released when it has been read. Bytes on disk are those of the spill
 * files' blocks, looked at every few milliseconds by the kernel's word and not by our own count.
 */
#ifndef BENCH_DISK_CASES_H
#define BENCH_DISK_CASES_H

static const char question[] = "does_disk_come_back";

enum { MODELS = 4, STORE_MIB = 64, OBJECT_BYTES = 1 << 20, OBJECTS = 4 * STORE_MIB };

#define CASE_PEAK  "most bytes on disk"
#define CASE_MEAN  "bytes on disk, mean over time"
#define CASE_END   "bytes on disk when all is released"
#define CASE_WAIT  "until none are, after the last release"
#define CASE_TIME  "a model takes"

#endif
