/*
 * setup_pack.h - the setup of a model as flat bytes, for processes that build the model for
 * themselves: a header, the model's own settings, then the gradient table.
 *
 * For processes of one machine and one version: the byte order is the machine's, and another
 * version's bytes are refused. Bytes may lie at any address.
 */
#ifndef DM_MODELS_SETUP_PACK_H
#define DM_MODELS_SETUP_PACK_H

#include "dm/models.h"

/* What tells the setups of one model from those of others. */
typedef struct dmi_setup_kind {
    const char *name;      /* in messages, "CSD" */
    const char *function;  /* that tells the size, for messages */
    char magic[8];         /* the first bytes */
    size_t settings_bytes; /* a multiple of 8; without padding, so that every byte has a meaning */
} dmi_setup_kind;

size_t dmi_setup_bytes(const dmi_setup_kind *kind, const dm_gradients *gradients);

/* DM_ERR_INVALID unless n_bytes is dmi_setup_bytes(). */
dm_status dmi_setup_pack(const dmi_setup_kind *kind, const void *settings,
                         const dm_gradients *gradients, void *bytes, size_t n_bytes) DM_NODISCARD;

/*
 * The reverse; `settings` has room for settings_bytes. DM_ERR_FORMAT if these are no bytes of
 * dmi_setup_pack of this kind and version. Yours: dm_gradients_destroy.
 */
dm_status dmi_setup_unpack(const dmi_setup_kind *kind, const void *bytes, size_t n_bytes,
                           void *settings, dm_gradients **gradients) DM_NODISCARD;

/* A model that could not be made of unpacked parts: what was invalid is now a matter of format. */
dm_status dmi_setup_unpacked(const dmi_setup_kind *kind, dm_status status) DM_NODISCARD;

#endif
