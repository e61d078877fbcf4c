/*
 * inputs.h - bringing a ready task's arguments into memory before it is placed, and keeping them there
 * until it is. All functions: under the role.
 *
 * Tasks are served in order, and no more of them than fit a share of the store: so that each gets all its
 * inputs together, and reading runs ahead of the tasks without pushing out what they need.
 */
#ifndef DMI_INPUTS_H
#define DMI_INPUTS_H

#include "runtime/session.h"

/* Are all its inputs in memory, as far as they are objects? */
bool dmi_inputs_are_at_hand(dmi_session *session, uint32_t index);

/* Take a task out of the queue and bring its inputs; it is dispatched again when they are there. False: not
 * now, too much is on its way already; unless `must`. */
bool dmi_inputs_fetch(dmi_session *session, uint32_t index, bool must);

/* It is placed: they need not be kept for it any longer. */
void dmi_inputs_release(dmi_session *session, uint32_t index);

/* An input is lost. Those it was to be brought for wait for nothing now, and hold up nobody else's inputs, of
 * which those needed to make it again may be some: a list, index + 1. What became of the input is then
 * settled, and they try again. */
uint32_t dmi_inputs_forgo(dmi_session *session, uint32_t input);
void dmi_inputs_try_again(dmi_session *session, uint32_t list);

/* Nothing is kept or brought for tasks that are not placed: those tasks are in the queue, as if for the first time. */
void dmi_inputs_let_go_of_all(dmi_session *session);

/* The head of the queue cannot be served because of tasks behind it, whose inputs are there while they wait to be
 * placed: they let go. True if any did; else something is still on its way. */
bool dmi_inputs_give_precedence(dmi_session *session);

/* They could not be brought: the task fails. */
void dmi_inputs_refused(dmi_session *session, uint32_t index);

#endif
