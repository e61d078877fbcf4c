/*
 * process.c - being a worker process: learning who we are, mapping what we may read, serving, ending.
 *
 * Also dmi_base, which says in any process where a segment is mapped.
 */
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "runtime/control.h"
#include "runtime/guard.h"
#include "runtime/lane.h"
#include "runtime/registry.h"
#include "runtime/service.h"
#include "runtime/spawn.h"
#include "runtime/worker.h"

/* ---- segments of others ---- */

/* Ask the supervisor for another worker's segment. The socket is the task thread's for this. */
static void fetch_segment(dmi_worker *worker, uint32_t id)
{
    dmi_mapping *mapping = &worker->mappings[id];
    if (mapping->base)
        munmap((void *)(uintptr_t)mapping->base, mapping->bytes);
    mapping->base = NULL;
    dmi_control want = {.kind = DMI_CONTROL_WANT, .segment = id}, reply;
    if (dmi_control_send(worker->socket, &want) != DM_OK ||
        dmi_control_receive(worker->socket, &reply) != DM_OK)
        dmi_worker_end_group(); /* no supervisor, no work */
    if (reply.kind != DMI_CONTROL_SEGMENT || reply.segment != id || reply.fd_count != 1)
        return;
    dmi_segment memory;
    if (dmi_segment_attach(&memory, -1, reply.fds[0], reply.bytes) != DM_OK)
        return;
    dmi_segment_close_fds(&memory);
    *mapping = (dmi_mapping){memory.ro, memory.bytes, reply.generation};
}

static const char *base_in_worker(dmi_worker *worker, uint32_t id, size_t *bytes)
{
    if (id == 0 || id == worker->segment) {
        const dmi_segment *memory = id == 0 ? &worker->d : &worker->own;
        *bytes = memory->bytes;
        return memory->ro;
    }
    dmi_mapping *mapping = &worker->mappings[id];
    if (mapping->base == NULL || mapping->generation != dmi_word_load(&worker->generations[id]))
        fetch_segment(worker, id);
    *bytes = mapping->bytes;
    return mapping->base;
}

const char *dmi_base(uint32_t id, size_t *bytes)
{
    dmi_session *session = dmi_the_session;
    if (session == NULL)
        return id < DMI_SEGMENTS && dmi_self ? base_in_worker(dmi_self, id, bytes) : NULL;
    if (id >= session->seat_high || !session->seats[id].used)
        return NULL;
    *bytes = session->seats[id].memory.bytes;
    return session->seats[id].memory.ro;
}

/* ---- beginning ---- */

/* The pointers into D and W that all workers have. */
static void find_places(dmi_worker *worker)
{
    const char *d = worker->d.ro;
    worker->head = (const dmi_head *)d;
    worker->generations = (const dmi_word *)(d + worker->head->generations_at);
    worker->down = (const dmi_down *)(d + worker->head->downs_at) + worker->lane;
    worker->records = (const dmi_record *)(d + worker->head->records_at);
    worker->up = (dmi_up *)worker->own.rw;
    worker->slots = (dmi_slot *)(worker->own.rw + sizeof(dmi_up));
    worker->slots_ahead =
        (dmi_ahead){(char *)worker->slots, 0, DMI_MAX_SLOTS * sizeof *worker->slots, false};
    pthread_mutex_init(&worker->free_lock, NULL);
    pthread_mutex_init(&worker->post_lock, NULL);
}

static dm_status make_heap(dmi_worker *worker)
{
    return dmi_heap_create(&worker->heap, &worker->own, worker->head->up_heap_at, worker->own.bytes,
                           &worker->up->committed, &worker->down->granted);
}

dm_status dmi_worker_create(dmi_worker **out, dmi_session *session, dmi_lane *lane)
{
    dmi_worker *worker = calloc(1, sizeof *worker);
    if (worker == NULL)
        return dmi_error(DM_ERR_NOMEM, "no memory for a worker");
    worker->session = session;
    worker->own = session->seats[lane->segment].memory;
    worker->d = session->seats[0].memory;
    worker->segment = lane->segment;
    worker->lane = lane->index;
    worker->inline_bytes = session->settings.inline_bytes;
    worker->store_wait_ms = session->settings.store_wait_ms;
    worker->nested_most = (uint32_t)session->settings.nested_tasks;
    worker->cpus = session->settings.cpus;
    worker->bell = lane->child.bell;
    worker->driver_bell = session->driver_bell;
    worker->supervisor_bell = session->supervisor_bell;
    worker->socket = -1;
    find_places(worker);
    dm_status status = make_heap(worker);
    if (status != DM_OK) {
        dmi_worker_destroy(worker);
        return status;
    }
    *out = worker;
    return DM_OK;
}

void dmi_worker_destroy(dmi_worker *worker)
{
    if (worker == NULL)
        return;
    dmi_locals_destroy(worker->locals);
    dmi_heap_destroy(worker->heap);
    for (uint32_t i = 0; i < worker->holding_high; i++)
        if (worker->holdings[i].kind == DMI_HOLD_FAILED)
            free(worker->holdings[i].text);
    free(worker->holdings);
    free(worker->free_cells);
    free(worker->cell_seqs);
    free(worker->dropped_cells);
    free(worker->mappings);
    pthread_mutex_destroy(&worker->free_lock);
    pthread_mutex_destroy(&worker->post_lock);
    free(worker);
}

enum { FD_D, FD_OWN_RW, FD_OWN_RO, FD_DRIVER_BELL, FD_SUPERVISOR_BELL, FD_BELL, FD_SERVICE_BELL, FDS };

/* Its own look at what differs, for the driver may have sent tasks before it heard our hello. */
static dm_status check_version(const dmi_control *welcome)
{
    if (welcome->kind != DMI_CONTROL_WELCOME || welcome->fd_count != FDS || welcome->abi != DMI_ABI)
        return dmi_error(DM_ERR_VERSION, "driver and worker speak different versions");
    if (welcome->functions != dmi_registry_hash())
        return dmi_error(DM_ERR_VERSION, "driver and worker have registered different remote functions");
    return DM_OK;
}

/* Map D and our own segment; take the rest of the welcome. */
static dm_status settle_in(dmi_worker *worker, const dmi_control *welcome)
{
    const int *fds = welcome->fds;
    DM_TRY(check_version(welcome));
    DM_TRY(dmi_segment_attach(&worker->d, -1, fds[FD_D], welcome->d_bytes));
    DM_TRY(dmi_segment_attach(&worker->own, fds[FD_OWN_RW], fds[FD_OWN_RO], welcome->bytes));
    dmi_segment_close_fds(&worker->d);
    if (((const dmi_head *)worker->d.ro)->abi != DMI_ABI)
        return dmi_error(DM_ERR_VERSION, "driver and worker lay out memory differently");
    worker->segment = welcome->segment;
    worker->lane = welcome->lane;
    worker->inline_bytes = welcome->inline_bytes;
    worker->store_wait_ms = welcome->store_wait_ms;
    worker->nested_most = (uint32_t)welcome->nested_tasks;
    worker->cpus = (int)welcome->cpus;
    worker->driver_bell = fds[FD_DRIVER_BELL];
    worker->supervisor_bell = fds[FD_SUPERVISOR_BELL];
    worker->bell = fds[FD_BELL];
    worker->mappings = calloc(DMI_SEGMENTS, sizeof *worker->mappings);
    if (worker->mappings == NULL)
        return dmi_error(DM_ERR_NOMEM, "no memory for the table of segments");
    find_places(worker);
    return make_heap(worker);
}

static void serve_the_driver(void *worker)
{
    dmi_worker_housekeep(worker);
}

static _Noreturn void give_up(void)
{
    fprintf(stderr, "worker cannot start: %s\n", dm_last_error());
    fflush(stderr);
    _exit(EXIT_FAILURE);
}

static void end_with_thread(void *worker)
{
    if (((const dmi_worker *)worker)->session != NULL)
        return; /* the driver's process, which does not end for a task */
    fprintf(stderr, "a task ended the thread that it ran on\n");
    fflush(NULL);
    _exit(EXIT_FAILURE);
}

void dmi_worker_call(dmi_worker *worker, void (*run)(void *context), void *context)
{
    pthread_cleanup_push(end_with_thread, worker);
    run(context);
    pthread_cleanup_pop(0);
}

static void serve(void *worker)
{
    dmi_worker_serve(worker);
}

void dmi_worker_process(int socket)
{
    static dmi_worker worker;
    dmi_service *service;
    dmi_control welcome;
    dmi_worker_tie();
    worker.socket = socket;
    if (dmi_registry_close() != DM_OK || dmi_control_receive(socket, &welcome) != DM_OK)
        give_up();
    dmi_control hello = {.kind = DMI_CONTROL_HELLO, .abi = DMI_ABI, .functions = dmi_registry_hash()};
    if (dmi_control_send(socket, &hello) != DM_OK || settle_in(&worker, &welcome) != DM_OK ||
        dmi_service_start(&service, socket, welcome.fds[FD_SERVICE_BELL], serve_the_driver, &worker) !=
            DM_OK)
        give_up();
    dmi_guard_install(&worker);
    dmi_self = &worker;
    dmi_worker_call(&worker, serve, &worker);
    dmi_locals_destroy(worker.locals);
    fflush(NULL);
    _exit(EXIT_SUCCESS);
}
