/*
 * door.c - lets observers in, a few at a time, hears one request of each, and sends what runtime/survey.c
 * found.
 *
 *     FREE --let in--> ASKING --a request--> WAITING --survey finished--> HEARING --all sent--> LEAVING --> FREE
 *                        |                                                   |                    ^
 *                        +------- no request of ours, or 5 s are over -------+--------------------+
 *
 * Never waits: sockets do not block, a survey is made in short pieces with a pause for others between
 * them, and who is silent or does not read is put out. No timer runs while nobody is in.
 */
#define _GNU_SOURCE
#include "runtime/door.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "runtime/clock.h"
#include "runtime/observe.h"
#include "runtime/survey.h"

enum {
    GUESTS = 4,      /* more wait in the listening socket's queue */
    QUEUE = 8,
    PATIENCE_MS = 5000, /* to ask; and again, to take the whole answer */
    PAUSE_MS = 1,    /* between two pieces of a survey, so that the role stays its owner's (role.c) */
    RETRY_MS = 100,  /* when there was no descriptor for one who knocked */
    KNOCKS_PER_TURN = 16,
    PACKETS_PER_TURN = 8
};

typedef enum guest_state { FREE, ASKING, WAITING, HEARING, LEAVING } guest_state;

typedef struct guest {
    dmi_door *door;
    guest_state state;
    int socket;
    uv_poll_t poll;
    int64_t due_ms; /* ASKING, HEARING: it is put out; WAITING: the next piece */
    dmi_survey *survey; /* WAITING, HEARING */
} guest;

struct dmi_door {
    dmi_session *session;
    uv_loop_t *loop;
    int listener;
    uv_poll_t knocks;
    uv_timer_t timer;
    int64_t retry_at_ms; /* 0, or: the listener is not looked at until then */
    guest guests[GUESTS];
};

static void set_timer(dmi_door *door);
static void on_knock(uv_poll_t *poll, int status, int events);

/* ---- leaving ---- */

static void on_left(uv_handle_t *handle)
{
    guest *g = handle->data;
    g->state = FREE;
    if (g->door->listener >= 0 && g->door->retry_at_ms == 0)
        uv_poll_start(&g->door->knocks, UV_READABLE, on_knock);
}

static void put_out(guest *g)
{
    g->state = LEAVING;
    dmi_survey_destroy(g->survey);
    g->survey = NULL;
    uv_close((uv_handle_t *)&g->poll, on_left);
    close(g->socket);
}

/* ---- hearing the answer ---- */

/* True if another packet may be sent now. */
static bool send_packet(guest *g)
{
    uint8_t packet[DMI_PACKET_MOST];
    size_t bytes = dmi_survey_pack(g->survey, packet);
    if (bytes == 0) {
        put_out(g);
        return false;
    }
    ssize_t sent = send(g->socket, packet, bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0)
        dmi_survey_next(g->survey);
    else if (errno != EAGAIN && errno != EINTR && errno != ENOBUFS)
        put_out(g);
    return sent >= 0;
}

static void on_writable(uv_poll_t *poll, int status, int events)
{
    (void)status, (void)events; /* send says it all */
    guest *g = poll->data;
    for (int i = 0; i < PACKETS_PER_TURN && send_packet(g); i++)
        continue;
    set_timer(g->door);
}

/* ---- waiting for it ---- */

static void make_piece(guest *g)
{
    bool done = dmi_survey_piece(g->survey);
    g->due_ms = dmi_now_ms() + (done ? PATIENCE_MS : PAUSE_MS);
    if (!done)
        return;
    g->state = HEARING;
    if (uv_poll_start(&g->poll, UV_WRITABLE, on_writable) != 0)
        put_out(g);
}

/* It gets a sentence instead, if that fits the socket, as it does. */
static void refuse(guest *g, dm_status status)
{
    uint8_t packet[2048];
    dmi_out out = {packet, packet, packet + sizeof packet};
    const dmi_trouble_line trouble = {(uint64_t)status, dm_last_error()};
    if (dmi_line_write(&out, DMI_LINE_TROUBLE, &trouble) &&
        send(g->socket, packet, (size_t)(out.at - packet), MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
        /* then it only sees the end */
    }
    put_out(g);
}

static void begin_survey(guest *g, const dmi_request *request)
{
    uv_poll_stop(&g->poll);
    g->survey = dmi_survey_create(g->door->session, request);
    if (g->survey == NULL) {
        refuse(g, dmi_error(DM_ERR_NOMEM, "the program has no memory for an answer about %u objects",
                            request->top));
        return;
    }
    g->state = WAITING;
    g->due_ms = dmi_now_ms() + PAUSE_MS; /* before the first piece, too, however often it is asked */
}

/* ---- asking ---- */

static void on_request(uv_poll_t *poll, int status, int events)
{
    (void)status, (void)events;
    guest *g = poll->data;
    dmi_door *door = g->door;
    uint8_t bytes[DMI_REQUEST_MOST];
    dmi_request request;
    ssize_t got = recv(g->socket, bytes, sizeof bytes, MSG_DONTWAIT | MSG_TRUNC);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    dm_status read = got > 0 && got <= (ssize_t)sizeof bytes
                         ? dmi_request_read(bytes, (size_t)got, &request)
                         : DM_ERR_FORMAT;
    if (read == DM_OK)
        begin_survey(g, &request);
    else if (read == DM_ERR_VERSION)
        refuse(g, read);
    else
        put_out(g);
    set_timer(door);
}

/* ---- coming in ---- */

static bool may_come_in(int socket)
{
    struct ucred who;
    socklen_t bytes = sizeof who;
    return getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &who, &bytes) == 0 &&
           (who.uid == geteuid() || who.uid == 0);
}

static void let_in(dmi_door *door, guest *g, int socket)
{
    if (!may_come_in(socket) || uv_poll_init(door->loop, &g->poll, socket) != 0) {
        close(socket);
        return;
    }
    g->door = door;
    g->socket = socket;
    g->state = ASKING;
    g->due_ms = dmi_now_ms() + PATIENCE_MS;
    g->poll.data = g;
    if (uv_poll_start(&g->poll, UV_READABLE, on_request) != 0)
        put_out(g);
}

static guest *free_seat(dmi_door *door)
{
    for (int i = 0; i < GUESTS; i++)
        if (door->guests[i].state == FREE)
            return &door->guests[i];
    return NULL;
}

/* The listener stays readable, so it must not be looked at while nobody can be let in. */
static void look_away(dmi_door *door, int64_t retry_at_ms)
{
    door->retry_at_ms = retry_at_ms;
    uv_poll_stop(&door->knocks);
}

static void on_knock(uv_poll_t *poll, int status, int events)
{
    (void)status, (void)events;
    dmi_door *door = poll->data;
    for (int i = 0; i < KNOCKS_PER_TURN; i++) {
        guest *g = free_seat(door);
        if (g == NULL) {
            look_away(door, 0); /* until on_left */
            break;
        }
        int socket = accept4(door->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (socket >= 0)
            let_in(door, g, socket);
        else if (errno != EINTR && errno != ECONNABORTED) {
            if (errno != EAGAIN)
                look_away(door, dmi_now_ms() + RETRY_MS);
            break;
        }
    }
    set_timer(door);
}

/* ---- time ---- */

static void serve(guest *g, int64_t now)
{
    if (g->state == FREE || g->state == LEAVING || now < g->due_ms)
        return;
    if (g->state == WAITING)
        make_piece(g);
    else
        put_out(g);
}

static void on_timer(uv_timer_t *timer)
{
    dmi_door *door = timer->data;
    int64_t now = dmi_now_ms();
    for (int i = 0; i < GUESTS; i++)
        serve(&door->guests[i], now);
    if (door->retry_at_ms != 0 && now >= door->retry_at_ms) {
        door->retry_at_ms = 0;
        uv_poll_start(&door->knocks, UV_READABLE, on_knock);
    }
    set_timer(door);
}

/* When something is due; INT64_MAX: nothing. */
static int64_t next_due_ms(const dmi_door *door)
{
    int64_t due = door->retry_at_ms != 0 ? door->retry_at_ms : INT64_MAX;
    for (int i = 0; i < GUESTS; i++) {
        const guest *g = &door->guests[i];
        if (g->state != FREE && g->state != LEAVING && g->due_ms < due)
            due = g->due_ms;
    }
    return due;
}

static void set_timer(dmi_door *door)
{
    int64_t now = dmi_now_ms(), due = next_due_ms(door);
    if (due == INT64_MAX) {
        uv_timer_stop(&door->timer);
        return;
    }
    uv_update_time(door->loop);
    uv_timer_start(&door->timer, on_timer, due > now ? (uint64_t)(due - now) : 1, 0);
}

/* ---- opening and closing ---- */

static dm_status cannot_open(int listener, const char *what)
{
    int error = errno;
    if (listener >= 0)
        close(listener);
    dm_status status = error == EMFILE || error == ENFILE ? DM_ERR_FDS
                       : error == ENOMEM                  ? DM_ERR_NOMEM
                                                          : DM_ERR_SYSTEM;
    return dmi_error(status, "dm memory and dm status will not find this program: %s: %s", what,
                     strerror(error));
}

static dm_status listen_at(int *listener)
{
    struct sockaddr_un address;
    socklen_t bytes = dmi_observe_address(&address, geteuid(), getpid());
    *listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (*listener < 0)
        return cannot_open(-1, "no socket to be asked through");
    if (bind(*listener, (struct sockaddr *)&address, bytes) != 0 || listen(*listener, QUEUE) != 0)
        return cannot_open(*listener, "its socket cannot have its name");
    return DM_OK;
}

dm_status dmi_door_open(dmi_door **out, dmi_session *session, uv_loop_t *loop)
{
    int listener;
    *out = NULL;
    DM_TRY(listen_at(&listener));
    dmi_door *door = calloc(1, sizeof *door);
    errno = ENOMEM;
    if (door == NULL)
        return cannot_open(listener, "no memory");
    *door = (dmi_door){.session = session, .loop = loop, .listener = listener};
    errno = -uv_poll_init(loop, &door->knocks, listener);
    if (errno != 0) {
        free(door);
        return cannot_open(listener, "its socket cannot be watched");
    }
    uv_timer_init(loop, &door->timer);
    door->knocks.data = door->timer.data = door;
    *out = door;
    errno = -uv_poll_start(&door->knocks, UV_READABLE, on_knock);
    if (errno == 0)
        return DM_OK;
    dm_status status = cannot_open(-1, "its socket cannot be watched");
    dmi_door_close(door);
    return status;
}

void dmi_door_close(dmi_door *door)
{
    if (door == NULL || door->listener < 0)
        return;
    for (int i = 0; i < GUESTS; i++)
        if (door->guests[i].state != FREE && door->guests[i].state != LEAVING)
            put_out(&door->guests[i]);
    uv_close((uv_handle_t *)&door->knocks, NULL);
    uv_close((uv_handle_t *)&door->timer, NULL);
    close(door->listener);
    door->listener = -1;
}

void dmi_door_destroy(dmi_door *door)
{
    free(door);
}
