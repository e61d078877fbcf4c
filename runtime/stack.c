/*
 * stack.c - the bounds of a thread's stack, looked up once, and threads that stand in for a deeper one.
 *
 * A thread per half stack, made and ended as tasks nest and return: that is one in a thousand levels or so, and
 * what the C library keeps of it for the next is a few pages. The memory of a stack is touched as it is used.
 */
#define _GNU_SOURCE
#include "runtime/stack.h"

#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "runtime/worker.h"

/* Of this thread; `end` 0: not looked up yet, or they cannot be known. */
static _Thread_local struct {
    uintptr_t begin, end;
    uintptr_t lowest; /* that was seen in use, since memory was given back; 0: none */
} bounds;

static void look_up(void)
{
    pthread_attr_t attributes;
    void *lowest;
    size_t bytes;
    if (pthread_getattr_np(pthread_self(), &attributes) != 0)
        return;
    if (pthread_attr_getstack(&attributes, &lowest, &bytes) == 0) {
        bounds.begin = (uintptr_t)lowest;
        bounds.end = bounds.begin + bytes;
    }
    pthread_attr_destroy(&attributes);
}

/* Not a local variable's: AddressSanitizer may keep those elsewhere. */
#define HERE ((uintptr_t)__builtin_frame_address(0))

bool dmi_stack_is_low(void)
{
    uintptr_t here = HERE;
    if (bounds.end == 0)
        look_up();
    if (here < bounds.begin || here >= bounds.end)
        return true;
    if (bounds.lowest == 0 || here < bounds.lowest)
        bounds.lowest = here;
    return here - bounds.begin < (bounds.end - bounds.begin) / 2;
}

void dmi_stack_give_back(void)
{
    static const uintptr_t KEPT = 256 << 10; /* what a next task needs, most likely */
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), to = (HERE - KEPT) & ~(page - 1);
    uintptr_t from = (bounds.lowest + page - 1) & ~(page - 1);
    if (bounds.lowest == 0 || from >= to)
        return;
    madvise((void *)from, to - from, MADV_DONTNEED);
    bounds.lowest = 0;
}

typedef struct errand {
    dmi_worker *worker;
    void (*run)(void *context);
    void *context;
} errand;

static void *errand_main(void *argument)
{
    const errand *e = argument;
    pthread_setname_np(pthread_self(), "dm-nested");
    dmi_self = e->worker;
    dmi_worker_call(e->worker, e->run, e->context);
    return NULL;
}

/* What a task finds on the worker's first stack it should find here; an unlimited one is a quarter of all. */
static size_t stack_bytes(void)
{
    static const size_t LEAST = (size_t)8 << 20, MOST = (size_t)256 << 20;
    size_t bytes = bounds.end - bounds.begin;
    return bytes < LEAST ? LEAST : bytes > MOST ? MOST : bytes & ~(size_t)0xffff;
}

bool dmi_stack_call(dmi_worker *worker, void (*run)(void *context), void *context)
{
    pthread_t thread;
    pthread_attr_t attributes;
    errand e = {worker, run, context};
    if (pthread_attr_init(&attributes) != 0)
        return false;
    bool begun = pthread_attr_setstacksize(&attributes, stack_bytes()) == 0 &&
                 pthread_create(&thread, &attributes, errand_main, &e) == 0;
    pthread_attr_destroy(&attributes);
    return begun && pthread_join(thread, NULL) == 0;
}
