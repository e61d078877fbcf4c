/*
 * status.c - the table of statuses as text, and each thread's last message.
 *
 * Holds no policy: whoever fails writes the sentence.
 */
#include "dm/status.h"

#include <stdarg.h>
#include <stdio.h>

enum { MESSAGE_BYTES = 1024 };

static _Thread_local char last_message[MESSAGE_BYTES];

static const char *const names[] = {
#define STATUS_NAME(name, text) #name,
    DM_STATUS_MAP(STATUS_NAME)
#undef STATUS_NAME
};

static const char *const texts[] = {
#define STATUS_TEXT(name, text) text,
    DM_STATUS_MAP(STATUS_TEXT)
#undef STATUS_TEXT
};

const char *dm_strerror(dm_status status)
{
    return (unsigned)status < DM_STATUS_COUNT ? texts[status] : "unknown status";
}

const char *dm_status_name(dm_status status)
{
    return (unsigned)status < DM_STATUS_COUNT ? names[status] : "DM_ERR_?";
}

const char *dm_last_error(void)
{
    return last_message;
}

void dmi_error_clear(void)
{
    last_message[0] = 0;
}

dm_status dmi_error(dm_status status, const char *format, ...)
{
    /* Formatted aside first: an argument may be the last message itself. */
    char fresh[MESSAGE_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(fresh, sizeof fresh, format, args);
    va_end(args);
    snprintf(last_message, sizeof last_message, "%s", fresh);
    return status;
}
