/*
 * guard.c - a fault at an address that was lent read-only is noted in shared memory, then takes its
 * course: the process dies as it would have.
 */
#include "runtime/guard.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>

static dmi_worker *guarded;
static struct sigaction before_segv, before_bus;

static bool lies_in(const char *address, const char *base, size_t bytes)
{
    return base && address >= base && address < base + bytes;
}

static bool was_lent(const char *address)
{
    if (lies_in(address, guarded->own.ro, guarded->own.bytes) ||
        lies_in(address, guarded->d.ro, guarded->d.bytes))
        return true;
    for (uint32_t i = 0; i < DMI_SEGMENTS; i++)
        if (lies_in(address, guarded->mappings[i].base, guarded->mappings[i].bytes))
            return true;
    return false;
}

static void note_fault(int signal, siginfo_t *info, void *context)
{
    (void)context;
    if (info->si_code > 0 && was_lent(info->si_addr))
        dmi_word_publish(&guarded->up->view_written, (uint64_t)(uintptr_t)info->si_addr);
    /* Back to what was there; the instruction faults again and meets it. */
    sigaction(signal, signal == SIGSEGV ? &before_segv : &before_bus, NULL);
    if (info->si_code <= 0)
        raise(signal); /* sent by somebody: it would not come again by itself */
}

void dmi_guard_install(dmi_worker *worker)
{
    enum { STACK_BYTES = 64 << 10 };
    guarded = worker;
    stack_t present, ours = {.ss_size = STACK_BYTES};
    if (sigaltstack(NULL, &present) == 0 && (present.ss_flags & SS_DISABLE)) {
        ours.ss_sp = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (ours.ss_sp != MAP_FAILED)
            sigaltstack(&ours, NULL);
    }
    struct sigaction action = {.sa_sigaction = note_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigemptyset(&action.sa_mask);
    sigaction(SIGSEGV, &action, &before_segv);
    sigaction(SIGBUS, &action, &before_bus);
}
