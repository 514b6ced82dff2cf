#ifndef PGBOX_DOVEADM_PLUGIN_H
#define PGBOX_DOVEADM_PLUGIN_H

struct module;

extern const char *doveadm_pgbox_plugin_version;

/* Called by doveadm, which requires both. The commands "pgbox ..." are there as
   soon as the module is loaded. */
void doveadm_pgbox_plugin_init(struct module *module);
void doveadm_pgbox_plugin_deinit(void);

#endif
