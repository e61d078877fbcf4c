/*
 * engine.h - a session's making and unmaking, and its workers as processes, threads, or none.
 */
#ifndef DMI_ENGINE_H
#define DMI_ENGINE_H

#include "runtime/session.h"

/* The session without workers. On failure *out may be set: destroy it. */
dm_status dmi_session_create(dmi_session **out, const dmi_settings *settings);
void dmi_session_destroy(dmi_session *session);

/* Its workers. */
dm_status dmi_engine_start(dmi_session *session);
void dmi_engine_stop(dmi_session *session);

/* Serial engine: run everything that can run, on this thread. Not under the role. */
void dmi_engine_run_serially(dmi_session *session);

#endif
