/*
 * word.h - the only way anything is stored to shared memory.
 *
 * Every shared word has exactly one writing process, and every change of state is one aligned
 * release store by it. There is no read-modify-write here on purpose: a shared counter or lock leaks
 * or jams when its holder is killed (docs/decisions/0002-one-writer-per-word.md).
 *
 * All stores pass DMI_STEP(), where tests kill the process: a death between any two shared stores is
 * the whole meaning of "a death at any instruction", because only stores are visible to others.
 */
#ifndef DMI_WORD_H
#define DMI_WORD_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef _Atomic uint64_t dmi_word;

/* Called before every store to shared memory in debug builds; NULL does nothing. Set by tests. */
extern void (*dmi_step_hook)(void);

#if defined(DM_DEBUG) && DM_DEBUG
#define DMI_STEP()                                                                                 \
    do {                                                                                           \
        if (dmi_step_hook)                                                                         \
            dmi_step_hook();                                                                       \
    } while (0)
#else
#define DMI_STEP() ((void)0)
#endif

/* A word of anybody's, with everything its writer stored before it. */
static inline uint64_t dmi_word_load(const dmi_word *word)
{
    return atomic_load_explicit(word, memory_order_acquire);
}

/* A word of one's own, or a hint whose age does not matter. */
static inline uint64_t dmi_word_peek(const dmi_word *word)
{
    return atomic_load_explicit(word, memory_order_relaxed);
}

/* The change of state: all stored before it is seen by whoever loads it. */
static inline void dmi_word_publish(dmi_word *word, uint64_t value)
{
    DMI_STEP();
    atomic_store_explicit(word, value, memory_order_release);
}

/* Part of something that a later publish makes visible. */
static inline void dmi_word_prepare(dmi_word *word, uint64_t value)
{
    DMI_STEP();
    atomic_store_explicit(word, value, memory_order_relaxed);
}

/* Plain bytes that a later publish makes visible. */
static inline void dmi_shared_copy(void *to, const void *from, size_t bytes)
{
    DMI_STEP();
    memcpy(to, from, bytes);
}

/*
 * Between a store of one's own and a load of another's, where both sides do the same and at least one
 * must see the other's store (sleep against wake, claim against take-back).
 */
static inline void dmi_fence(void)
{
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpragmas"
#pragma GCC diagnostic ignored "-Wtsan" /* it orders words only; what they guard uses acquire/release */
    atomic_thread_fence(memory_order_seq_cst);
#pragma GCC diagnostic pop
}

/* Ask for a line that will be written, in good time: another core has it, and gives it up. (The compiler's
 * builtin asks for a copy to read where it must serve the first x86-64, too; those take this for a no-op.) */
static inline void dmi_prefetch_write(const void *line)
{
#if defined(__x86_64__)
    __asm__ volatile("prefetchw %0" : : "m"(*(const char *)line));
#else
    __builtin_prefetch(line, 1);
#endif
}

/* One turn of a spinning wait. */
static inline void dmi_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

#endif
