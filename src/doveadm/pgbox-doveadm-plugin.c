/* Copyright (c) 2026 pgbox authors, see the included COPYING file */

#include "lib.h"
#include "array.h"
#include "pgbox-doveadm.h"
#include "pgbox-doveadm-plugin.h"

const char *doveadm_pgbox_plugin_version = DOVECOT_ABI_VERSION;

/* doveadm initialises modules of its own folder before it looks for the
   command. A server that isn't installed has no such folder, and names this
   module in mail_plugins: those doveadm loads in time, but initialises them
   only when the command has begun. So registering can't wait for init(). */
static void __attribute__((constructor)) doveadm_pgbox_register(void)
{
	if (!array_is_created(&doveadm_cmds_ver2))
		return;
	doveadm_cmd_register_ver2(&pgbox_doveadm_status_cmd);
	doveadm_cmd_register_ver2(&pgbox_doveadm_verify_cmd);
	doveadm_cmd_register_ver2(&pgbox_doveadm_purge_cmd);
	doveadm_cmd_register_ver2(&pgbox_doveadm_expire_cmd);
	doveadm_cmd_register_ver2(&pgbox_doveadm_undelete_cmd);
}

void doveadm_pgbox_plugin_init(struct module *module ATTR_UNUSED)
{
}

void doveadm_pgbox_plugin_deinit(void)
{
}
