// Lines for the plugin's author and the operator. They never fail and never wait.

import { host } from '#host';

const at = (level) => (...parts) => host.log.log(level, parts.map(text).join(' '));

export const log = {
  trace: at('trace'),
  debug: at('debug'),
  info: at('info'),
  warn: at('warn'),
  error: at('error'),
};

function text(part) {
  if (part instanceof Error) return part.stack ? `${part}\n${part.stack}` : String(part);
  if (typeof part === 'string') return part;
  try {
    return JSON.stringify(part, (_, value) => (typeof value === 'bigint' ? Number(value) : value)) ?? String(part);
  } catch {
    return String(part);
  }
}
