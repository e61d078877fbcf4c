/* word.c - the step hook's home. Tests set it before dm_init; nobody else does. */
#include "objectstore/word.h"

void (*dmi_step_hook)(void);
