/*
 * mover.c - a few threads and a queue for each urgency.
 */
#include "runtime/mover.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS_MOST = 16 };

typedef struct queue {
    dmi_job *first, **end;
} queue;

struct dmi_mover {
    pthread_mutex_t lock;
    pthread_cond_t work;
    queue queues[DMI_URGENCIES];
    pthread_t threads[THREADS_MOST];
    unsigned wanted, started, idle;
    bool stopping;
};

dm_status dmi_mover_create(dmi_mover **out, unsigned threads)
{
    dmi_mover *mover = calloc(1, sizeof *mover);
    if (mover == NULL)
        return dmi_error(DM_ERR_NOMEM, "no memory for the threads that spill");
    pthread_mutex_init(&mover->lock, NULL);
    pthread_cond_init(&mover->work, NULL);
    mover->wanted = threads < THREADS_MOST ? threads : THREADS_MOST;
    for (int i = 0; i < DMI_URGENCIES; i++)
        mover->queues[i].end = &mover->queues[i].first;
    *out = mover;
    return DM_OK;
}

static dmi_job *take(dmi_mover *mover)
{
    for (int i = 0; i < DMI_URGENCIES; i++) {
        queue *q = &mover->queues[i];
        dmi_job *job = q->first;
        if (job == NULL)
            continue;
        q->first = job->next;
        if (q->first == NULL)
            q->end = &q->first;
        return job;
    }
    return NULL;
}

static void *move(void *argument)
{
    dmi_mover *mover = argument;
    pthread_setname_np(pthread_self(), "dm-mover");
    pthread_mutex_lock(&mover->lock);
    while (!mover->stopping) {
        dmi_job *job = take(mover);
        if (job == NULL) {
            mover->idle++;
            pthread_cond_wait(&mover->work, &mover->lock);
            mover->idle--;
            continue;
        }
        pthread_mutex_unlock(&mover->lock);
        job->run(job);
        pthread_mutex_lock(&mover->lock);
    }
    pthread_mutex_unlock(&mover->lock);
    return NULL;
}

/* Signals are the program's: none is handled on these threads. */
static void start_one(dmi_mover *mover)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (pthread_create(&mover->threads[mover->started], NULL, move, mover) == 0)
        mover->started++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

dm_status dmi_mover_post(dmi_mover *mover, dmi_job *job, dmi_urgency urgency)
{
    pthread_mutex_lock(&mover->lock);
    if (mover->stopping) { /* its threads are being joined */
        pthread_mutex_unlock(&mover->lock);
        return dmi_error(DM_ERR_SHUT_DOWN, "the session is being shut down");
    }
    if (mover->idle == 0 && mover->started < mover->wanted)
        start_one(mover);
    bool taken = mover->started != 0;
    if (taken) {
        queue *q = &mover->queues[urgency];
        job->next = NULL;
        *q->end = job;
        q->end = &job->next;
        pthread_cond_signal(&mover->work);
    }
    pthread_mutex_unlock(&mover->lock);
    return taken ? DM_OK : dmi_error(DM_ERR_NOMEM, "no thread for spilling could be started");
}

dmi_job *dmi_mover_stop(dmi_mover *mover)
{
    dmi_job *left = NULL, *job;
    pthread_mutex_lock(&mover->lock);
    mover->stopping = true;
    pthread_cond_broadcast(&mover->work);
    pthread_mutex_unlock(&mover->lock);
    while (mover->started != 0)
        pthread_join(mover->threads[--mover->started], NULL);
    while ((job = take(mover)) != NULL) {
        job->next = left;
        left = job;
    }
    return left;
}

void dmi_mover_destroy(dmi_mover *mover)
{
    if (mover == NULL)
        return;
    pthread_cond_destroy(&mover->work);
    pthread_mutex_destroy(&mover->lock);
    free(mover);
}
