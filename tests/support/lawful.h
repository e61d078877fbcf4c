/*
 * lawful.h - all that a session keeps is as runtime/walker.h says, at this moment.
 */
#ifndef TEST_SUPPORT_LAWFUL_H
#define TEST_SUPPORT_LAWFUL_H

#include "runtime/session.h"
#include "runtime/walker.h"
#include "tests/support/test.h"

static inline void assert_lawful(void)
{
#if defined(DM_DEBUG) && DM_DEBUG
    char said[300];
    dmi_role_take(&dmi_the_session->role);
    const char *broken = dmi_session_walk(dmi_the_session, said, sizeof said);
    dmi_role_leave(&dmi_the_session->role);
    if (broken)
        fail_msg("%s", broken);
#endif
}

#endif
