// Between the interface and the functions an author writes: what `describe`, `check` and `validate` of the
// component do.

import { host } from '#host';
import { CheckError, NetError, SecretError, StateError } from './errors.js';
import { log } from './log.js';
import { opened } from './net.js';
import { Outcome, down, lower, millis, nanos } from './outcome.js';
import { shaped } from './shape.js';

const PLUGIN = { name: 'text', version: 'text', summary: 'text', license: 'text?', homepage: 'text?', maxReuse: 'a number?', kinds: 'an object' };
const KIND = {
  title: 'text',
  summary: 'text',
  schema: 'an object',
  example: 'an object',
  sensitive: 'a list?',
  capabilities: 'a list?',
  defaultIntervalMs: 'a number?',
  defaultTimeoutMs: 'a number?',
  check: 'a function',
  validate: 'a function?',
};
const CAPABILITY = { name: 'text', scope: 'a list?', optional: 'true or false?', reason: 'text' };

/** Makes a plugin: export what it returns as `checker`. Throws where the definition is amiss, which ends its build. */
export function definePlugin(plugin) {
  shaped('the plugin', plugin, PLUGIN);
  for (const [kind, about] of Object.entries(plugin.kinds)) {
    shaped(`kind \`${kind}\``, about, KIND);
    for (const capability of about.capabilities ?? []) shaped(`a capability of kind \`${kind}\``, capability, CAPABILITY);
  }
  const { name, version, summary, license, homepage, maxReuse = 1, kinds } = plugin;
  return {
    describe: () => ({
      name,
      version,
      summary,
      license,
      homepage,
      maxReuse,
      checkTypes: Object.entries(kinds).map(([kind, about]) => checkType(kind, about)),
    }),
    check: (request) => check(kinds, request),
    configCheck: { validate: (kind, config) => validate(kinds, kind, config) },
  };
}

function checkType(name, about) {
  return {
    name,
    title: about.title,
    summary: about.summary,
    configSchema: JSON.stringify({ $schema: 'https://json-schema.org/draft/2020-12/schema', title: about.title, ...about.schema }),
    exampleConfig: JSON.stringify(about.example),
    sensitive: about.sensitive ?? [],
    defaultInterval: nanos(about.defaultIntervalMs),
    defaultTimeout: nanos(about.defaultTimeoutMs),
    capabilities: (about.capabilities ?? []).map(({ name, scope = [], optional = false, reason }) => ({ name, scope, optional, reason })),
  };
}

// A value thrown across the interface must be a `check-error`; anything else would abort the engine without a word.
async function check(kinds, request) {
  try {
    const kind = Object.hasOwn(kinds, request.checkType) ? kinds[request.checkType] : undefined;
    if (!kind) throw new CheckError('unsupported', `there is no kind \`${request.checkType}\` in this plugin`);
    const outcome = await kind.check(JSON.parse(request.config), context(request));
    if (!(outcome instanceof Outcome)) throw new TypeError(`\`check\` returned ${typeof outcome}; return \`up(…)\`, \`degraded(…)\` or \`down(…)\``);
    return lower(outcome);
  } catch (thrown) {
    return ended(thrown);
  } finally {
    // The next run may have this instance: what is open would stay so.
    for (const one of opened) one.close();
  }
}

/** What a kind finds wrong with a config that fits its schema: nothing, unless it has a `validate`. */
function validate(kinds, name, config) {
  const kind = Object.hasOwn(kinds, name) ? kinds[name] : undefined;
  try {
    return (kind?.validate?.(JSON.parse(config)) ?? []).map(({ pointer = '', message }) => ({ pointer, message }));
  } catch (thrown) {
    if (thrown instanceof CheckError && thrown.tag === 'invalid-config') return [{ pointer: '', message: thrown.message }];
    // The interface has no error here: the engine ends without a word, the log has it.
    log.error(thrown);
    throw thrown;
  }
}

/** What a run that threw says: an outcome for what the target did, an error for the rest. */
function ended(thrown) {
  if (thrown instanceof Outcome) return lower(thrown);
  if (thrown instanceof NetError && thrown.reason) return lower(down(thrown.reason, thrown.message));
  // One of the run's quotas is told by the worker, whatever is said here; the rest is the plugin's own bound.
  if (thrown instanceof NetError) throw payload(thrown.tag === 'limit' ? 'internal' : 'denied', thrown.message);
  if (thrown instanceof SecretError || thrown instanceof StateError) throw payload(WITHHELD[thrown.tag] ?? 'internal', thrown.message);
  if (thrown instanceof CheckError) throw payload(thrown.tag, thrown.message);
  log.error(thrown);
  throw payload('internal', String(thrown));
}

// A secret or state that the worker refuses or cannot give; what is too large for it is the plugin's own fault.
const WITHHELD = { 'access-denied': 'denied', 'not-found': 'denied', unavailable: 'retryable' };

const payload = (tag, val) => ({ payload: { tag, val } });

function context({ monitorId, runId, attempt, previous, budget }) {
  return {
    monitorId,
    runId,
    attempt,
    previous,
    budgetMs: millis(budget),
    remainingMs: () => millis(host.context.remaining()),
    granted: (capability) => host.context.granted(capability),
  };
}
