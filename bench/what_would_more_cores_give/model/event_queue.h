/*
 * event_queue.h - what is to happen, earliest first: a binary heap.
 *
 * Of two events at the same time the one that was pushed first comes first, so that a run is the same each time.
 */
#ifndef BENCH_EVENT_QUEUE_H
#define BENCH_EVENT_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct event {
    double at;
    uint64_t serial; /* the queue's */
    uint32_t kind, who;
} event;

/* Zeroed is empty. Yours: event_queue_fini. */
typedef struct event_queue {
    event *heap; /* no parent is later than its children, 2 i + 1 and 2 i + 2 */
    size_t n, room;
    uint64_t serial;
} event_queue;

void event_queue_push(event_queue *queue, double at, uint32_t kind, uint32_t who);

/* NULL: empty. Good until the next push or pop. */
const event *event_queue_first(const event_queue *queue);

/* The earliest; false: empty. */
bool event_queue_pop(event_queue *queue, event *out);

void event_queue_fini(event_queue *queue);

#endif
