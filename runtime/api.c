/*
 * api.c - the public calls: is there a session, who is asking, then driver*.c or inside*.c.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/cancel.h"
#include "runtime/driver.h"
#include "runtime/engine.h"
#include "runtime/registry.h"
#include "runtime/residence.h"
#include "runtime/spawn.h"
#include "runtime/stats.h"
#include "runtime/worker.h"

dmi_session *dmi_the_session;

static enum { NEVER, RUNNING, ENDED, FORKED } state; /* of this process */
static pthread_mutex_t starting = PTHREAD_MUTEX_INITIALIZER;

const char *dm_version(void)
{
    return DM_VERSION_STRING;
}

/* Why there is no session. */
static dm_status no_session(void)
{
    dm_status status = state == FORKED  ? DM_ERR_FORKED
                       : state == ENDED ? DM_ERR_SHUT_DOWN
                                        : DM_ERR_NOT_RUNNING;
    return dmi_error(status, "%s", dm_strerror(status));
}

static inline bool is_running(void)
{
    return __builtin_expect(dmi_self != NULL || state == RUNNING, 1);
}

/* A call outside any session has no table to put its failure in: the ref says nothing, and dm_get on
 * it says what is wrong with the session. */
static dm_ref no_ref(void)
{
    no_session();
    return DM_NO_REF;
}

static void forget_session(void)
{
    if (state == RUNNING)
        state = FORKED;
    dmi_the_session = NULL;
    dmi_self = NULL;
}

/* ---- beginning and end ---- */

static void watch_forks(void)
{
    pthread_atfork(NULL, NULL, forget_session);
}

static dm_status start(const dm_options *options)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    static dmi_settings settings;
    dmi_session *session = NULL;
    if (state == FORKED)
        return no_session();
    if (state == RUNNING)
        return dmi_error(DM_ERR_ALREADY_RUNNING, "dm_init: a session is running: dm_shutdown it first");
    pthread_once(&once, watch_forks);
    DM_TRY(dmi_settings_settle(&settings, options));
    DM_TRY(dmi_registry_close());
    dm_status status = dmi_session_create(&session, &settings);
    dmi_the_session = session;
    if (status == DM_OK)
        status = dmi_engine_start(session);
    if (status != DM_OK) {
        char *said = strdup(dm_last_error());
        if (session) {
            dmi_engine_stop(session);
            dmi_session_destroy(session);
        }
        dmi_the_session = NULL;
        dmi_error(status, "dm_init: %s", said ? said : dm_strerror(status));
        free(said);
        return status;
    }
    state = RUNNING;
    return DM_OK;
}

dm_status dm_init(const dm_options *options)
{
    int socket;
    if (dmi_self)
        return dmi_error(DM_ERR_ALREADY_RUNNING, "dm_init: a task is part of its driver's session");
    if (dmi_worker_marked(&socket))
        dmi_worker_process(socket);
    pthread_mutex_lock(&starting);
    dm_status status = start(options);
    pthread_mutex_unlock(&starting);
    return status;
}

/* No call begins any more, those that wait give up, and all are gone when this returns. */
static void send_callers_home(dmi_session *session)
{
    enum { LOOK_US = 100 };
    dmi_role_take(&session->role);
    session->closing = true;
    while (session->visitors != 0) {
        dmi_wake_waiters(session);
        dmi_role_leave(&session->role);
        usleep(LOOK_US);
        dmi_role_take(&session->role);
    }
    dmi_role_leave(&session->role);
    dmi_shown_close(&session->shown);
}

void dm_shutdown(void)
{
    pthread_mutex_lock(&starting);
    if (state == RUNNING && dmi_self == NULL) {
        send_callers_home(dmi_the_session);
        dmi_residence_stop(dmi_the_session);
        dmi_engine_stop(dmi_the_session);
        dmi_session_destroy(dmi_the_session); /* who comes late finds it closing */
        state = ENDED;
    }
    pthread_mutex_unlock(&starting);
}

/* ---- tasks and values ---- */

/* Arguments that are NULL: a failure that the ref will tell of. */
static const dm_value missing = {.kind = DM_DATA};

dm_ref dm_submit(const dm_function *function, const dm_task_options *options, const dm_value *arguments,
                 size_t count)
{
    if (!is_running())
        return no_ref();
    if (arguments == NULL)
        arguments = &missing, count = count ? 1 : 0;
    if (dmi_self)
        return dmi_inside_submit(dmi_self, function, options, arguments, count);
    dm_ref ref = dmi_driver_submit(dmi_the_session, function, options, arguments, count);
    if (dmi_the_session->settings.engine == DM_ENGINE_SERIAL)
        dmi_engine_run_serially(dmi_the_session);
    return ref;
}

void dm_submit_n(const dm_function *function, const dm_task_options *options, const dm_value *arguments,
                 size_t count, dm_ref *refs, size_t n)
{
    if (refs == NULL || n == 0)
        return;
    memset(refs, 0, n * sizeof *refs);
    if (!is_running()) {
        no_session();
        return;
    }
    if (n == 1) {
        refs[0] = dm_submit(function, options, arguments, count);
        return;
    }
    if (arguments == NULL)
        arguments = &missing, count = count ? 1 : 0;
    if (dmi_self) {
        dmi_inside_submit_n(dmi_self, function, options, arguments, count, refs, n);
        return;
    }
    dmi_driver_submit_n(dmi_the_session, function, options, arguments, count, refs, n);
    if (dmi_the_session->settings.engine == DM_ENGINE_SERIAL)
        dmi_engine_run_serially(dmi_the_session);
}

dm_ref dm_put_value(dm_value value)
{
    if (!is_running())
        return no_ref();
    return dmi_self ? dmi_inside_put(dmi_self, value) : dmi_driver_put(dmi_the_session, value);
}

static dm_status no_time(const char *call, int64_t timeout_ms)
{
    return dmi_error(DM_ERR_INVALID, "%s: %lld ms cannot be waited for: it is 0 or more, or DM_NONE for no limit", call,
                     (long long)timeout_ms);
}

dm_status dm_get_into(dm_ref ref, dm_into into, void *out, int64_t timeout_ms)
{
    if (!is_running())
        return no_session();
    if (timeout_ms < DM_NONE)
        return no_time("dm_get_within", timeout_ms);
    if (out == NULL && into != DM_INTO_NOTHING)
        return dmi_error(DM_ERR_INVALID, "dm_get: there is no place for the value (NULL)");
    if (out == NULL)
        into = DM_INTO_NOTHING;
    return dmi_self ? dmi_inside_get(dmi_self, ref, into, out, timeout_ms)
                    : dmi_driver_get(dmi_the_session, ref, into, out, timeout_ms);
}

dm_status dm_wait(const dm_ref *refs, size_t n, size_t k, int64_t timeout_ms, bool *ready)
{
    if (!is_running())
        return no_session();
    if (k > n || (refs == NULL && n != 0))
        return dmi_error(DM_ERR_INVALID, "dm_wait: %zu of %zu refs cannot be", k, n);
    if (timeout_ms < DM_NONE)
        return no_time("dm_wait", timeout_ms);
    return dmi_self ? dmi_inside_wait(dmi_self, refs, n, k, timeout_ms, ready)
                    : dmi_driver_wait(dmi_the_session, refs, n, k, timeout_ms, ready);
}

dm_status dm_retain(dm_ref ref)
{
    if (!is_running())
        return no_session();
    return dmi_self ? dmi_inside_retain(dmi_self, ref) : dmi_driver_retain(dmi_the_session, ref);
}

dm_status dm_release(dm_ref ref)
{
    if (ref.id == 0)
        return DM_OK;
    if (!is_running())
        return no_session();
    return dmi_self ? dmi_inside_release(dmi_self, ref) : dmi_driver_release(dmi_the_session, ref);
}

void dm_ref_list_release(dm_ref_list *list)
{
    for (size_t i = 0; list && i < list->count; i++)
        (void)dm_release(list->refs[i]);
    if (list) {
        free(list->refs);
        *list = (dm_ref_list){0};
    }
}

static dm_status cancel(dm_ref ref, int64_t grace_ms)
{
    if (!is_running())
        return no_session();
    return dmi_self ? dmi_inside_cancel(dmi_self, ref, grace_ms)
                    : dmi_driver_cancel(dmi_the_session, ref, grace_ms);
}

dm_status dm_cancel(dm_ref ref)
{
    return cancel(ref, DMI_GRACE_OF_SESSION);
}

dm_status dm_cancel_within(dm_ref ref, int64_t grace_ms)
{
    if (grace_ms < DM_NONE)
        return dmi_error(DM_ERR_INVALID, "dm_cancel_within: a grace of %lld ms cannot be: it is 0 or more, or DM_NONE",
                         (long long)grace_ms);
    return cancel(ref, grace_ms);
}

/* ---- without copying ---- */

dm_status dm_create(dm_dtype dtype, int ndim, const size_t *shape, dm_buffer *out)
{
    if (!is_running())
        return no_session();
    if (out == NULL || (shape == NULL && ndim > 0))
        return dmi_error(DM_ERR_INVALID, "dm_create: shape and out must be given");
    return dmi_self ? dmi_inside_create(dmi_self, dtype, ndim, shape, out)
                    : dmi_driver_create(dmi_the_session, dtype, ndim, shape, out);
}

dm_ref dm_seal(dm_buffer *buffer)
{
    dm_buffer none = {0};
    if (!is_running())
        return no_ref();
    if (buffer == NULL)
        buffer = &none; /* spent, as it were */
    return dmi_self ? dmi_inside_seal(dmi_self, buffer) : dmi_driver_seal(dmi_the_session, buffer);
}

void dm_abandon(dm_buffer *buffer)
{
    if (!is_running() || buffer == NULL)
        return;
    if (dmi_self)
        dmi_inside_abandon(dmi_self, buffer);
    else
        dmi_driver_abandon(dmi_the_session, buffer);
}

void dm_view_release(dm_view *view)
{
    if (view == NULL || view->pin == 0 || !is_running())
        return;
    if (dmi_self)
        dmi_inside_view_release(dmi_self, view);
    else
        dmi_driver_view_release(dmi_the_session, view);
    *view = (dm_view){0};
}

/* ---- scopes ---- */

static dm_status enter_scope(int step)
{
    if (!is_running())
        return no_session();
    if (dmi_self)
        return dmi_error(DM_ERR_INVALID, "a scope is the driver's: a task has none");
    dmi_session *session = dmi_the_session;
    dm_status status = DM_OK;
    if (!dmi_driver_enter(session))
        return DM_ERR_SHUT_DOWN;
    if (step < 0 && session->scopes == 0)
        status = dmi_error(DM_ERR_INVALID, "dm_scope_end: no scope was begun");
    else
        session->scopes += (uint32_t)step;
    if (status == DM_OK && session->scopes == 0)
        dmi_residence_scope_end(session);
    dmi_driver_leave(session);
    return status;
}

dm_status dm_scope_begin(void)
{
    return enter_scope(1);
}

dm_status dm_scope_end(void)
{
    return enter_scope(-1);
}

/* ---- introspection ---- */

dm_status dm_stats_get(dm_stats *out)
{
    if (!is_running())
        return no_session();
    if (dmi_self)
        return dmi_error(DM_ERR_INVALID, "dm_stats_get: the driver has the statistics, a task has not");
    if (out == NULL)
        return dmi_error(DM_ERR_INVALID, "dm_stats_get: there is no place for the figures (NULL)");
    dmi_session *session = dmi_the_session;
    if (!dmi_driver_enter(session))
        return DM_ERR_SHUT_DOWN;
    dmi_turn(session);
    dmi_stats_collect(session, out);
    dmi_driver_leave(session);
    return DM_OK;
}

int dm_worker_pids(int *pids, int n)
{
    if (state != RUNNING || dmi_self)
        return 0;
    int count = 0;
    dmi_session *session = dmi_the_session;
    if (!dmi_driver_enter(session))
        return 0;
    for (uint32_t i = 0; i < session->lane_count; i++) {
        int pid = (int)session->lanes[i].child.pid;
        if (pid > 0 && session->lanes[i].state == DMI_LANE_SERVING) {
            if (count < n)
                pids[count] = pid;
            count++;
        }
    }
    dmi_driver_leave(session);
    return count;
}
