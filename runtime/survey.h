/*
 * survey.h - what an observer is told of a session: collected in pieces, then packed in packets.
 *
 * A look at every value takes long when there are millions, and whoever looks keeps the role's owner out.
 * So each piece takes the role for a fifth of a millisecond and remembers where it was. The answer is no
 * snapshot: totals are of the first moment, each object is as it was when it was looked at last, and one
 * that dies meanwhile is left out.
 *
 * On one thread, the supervisor's, without the role.
 */
#ifndef DMI_SURVEY_H
#define DMI_SURVEY_H

#include "runtime/observe.h"
#include "runtime/session.h"

typedef struct dmi_survey dmi_survey;

/* NULL: no memory. Yours: dmi_survey_destroy, which takes NULL. */
dmi_survey *dmi_survey_create(dmi_session *session, const dmi_request *request);
void dmi_survey_destroy(dmi_survey *survey);

/* A piece of the work. True when all of it is done. Takes the role, for 0.2 ms and at most one task more. */
bool dmi_survey_piece(dmi_survey *survey);

/* The next packet of a finished survey, again and again until dmi_survey_next; the bytes, 0 after the last.
 * `to` has room for DMI_PACKET_MOST. */
size_t dmi_survey_pack(dmi_survey *survey, uint8_t *to);
void dmi_survey_next(dmi_survey *survey);

#endif
