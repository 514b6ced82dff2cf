/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

#define _GNU_SOURCE /* RTLD_DEFAULT */
#include "lib.h"
#include "pgbox-config.h"
#include "pgbox-conn.h"
#include "pgbox-storage.h"
#include "pgbox-notify-client.h"
#include "pgbox-owner.h"
#include "pgbox-quota.h"
#include "pgbox-plugin.h"

#include <dlfcn.h>

const char *pgbox_plugin_version = DOVECOT_ABI_VERSION;

/* Debian's security updates of September 2026 enlarged struct index_mail, which
   our mails begin with, and left the ABI version as it was. The same update
   brought a function to libdovecot: whether it is there tells what we run in. */
#ifdef HAVE_STRUCT_INDEX_MAIL_DATA_PART_DATA_LIMITS
#  define BUILT_WITH_LIMITS TRUE
#else
#  define BUILT_WITH_LIMITS FALSE
#endif
#define LIMITS_SYMBOL "i_stream_header_filter_set_max_header_block_size"

static void plugin_check_structs(void)
{
	bool running_with = dlsym(RTLD_DEFAULT, LIMITS_SYMBOL) != NULL;

	if (running_with != BUILT_WITH_LIMITS) {
		i_fatal("pgbox: built for another revision of Dovecot "
			DOVECOT_VERSION" (struct index_mail differs under the "
			"same ABI version): rebuild pgbox against the headers "
			"of the installed Dovecot");
	}
}

void pgbox_plugin_init(struct module *module)
{
	plugin_check_structs();
	mail_storage_class_register(&pgbox_storage);
	mailbox_list_register(&pgbox_mailbox_list);
	pgbox_quota_register();
	pgbox_owner_init(module);
}

void pgbox_plugin_deinit(void)
{
	pgbox_owner_deinit();
	pgbox_quota_unregister();
	pgbox_notify_client_deinit();
	pgbox_conns_free_unused();
	mailbox_list_unregister(&pgbox_mailbox_list);
	mail_storage_class_unregister(&pgbox_storage);
}
