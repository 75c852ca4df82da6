// A Lapwing plugin: fetches a page and looks for a text on it.

#include "lapwing.h"

#include <string.h>

// `x-lapwing-target` names what the monitor is about: a run may reach that, and nothing else.
static const char SCHEMA[] =
    "{\"type\": \"object\","
    " \"properties\": {"
    "  \"url\": {\"type\": \"string\", \"format\": \"uri\", \"description\": \"Page to fetch.\", \"x-lapwing-target\": \"url\"},"
    "  \"contains\": {\"type\": \"string\", \"minLength\": 1, \"description\": \"Text that must be on it.\"}},"
    " \"required\": [\"url\", \"contains\"], \"additionalProperties\": false}";

// One run. A call that fails has said how the run ends: nothing to do but return.
static void check(lw_run *run) {
  const char *text = lw_text(run, "contains", "");
  lw_response page;
  if (!lw_http_get(run, lw_text(run, "url", ""), &page)) return;
  lw_latency(run, page.total);
  lw_attribute_int(run, "page.bytes", (int64_t)page.length);
  if (page.status < 200 || page.status > 299) {
    lw_down(run, "http_status", "answered %u, expected 200 to 299", page.status);
    return;
  }
  const char *body = lw_body(run, &page);
  if (!body) return;
  if (!strstr(body, text))
    lw_down(run, "assertion_failed", "`%s` is not on the page", text);
  else
    lw_up(run, "`%s` is on the page", text);
}

static const lw_capability CAPABILITIES[] = {
    {.name = "net.http", .scope = "{config.url}", .reason = "fetches the page"},
    {0},
};

static const lw_kind KINDS[] = {
    {
        .name = "{{name}}",
        .title = "Text on a page",
        .summary = "Fetches a page and looks for a text on it",
        .schema = SCHEMA,
        .example = "{\"url\": \"https://example.com/\", \"contains\": \"Example\"}",
        .capabilities = CAPABILITIES,
        .check = check,
    },
    {0},
};

const lw_plugin lapwing_plugin = {
    .name = "{{name}}",
    .version = "0.1.0",
    .summary = "Is a text on a page?",
    .kinds = KINDS,
};
