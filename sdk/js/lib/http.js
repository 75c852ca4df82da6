// HTTP exchanges, carried out by the host: TLS, redirects and decompression are its business.

import { host } from '#host';
import { NetError, dialling } from './errors.js';
import { bytes, family, text, timeout, timing, tlsOptions } from './net.js';
import { known } from './shape.js';

const MAX_BODY_BYTES = 256 << 10;
const OPTIONS = ['headers', 'secretHeaders', 'body', 'json', 'maxRedirects', 'maxBodyBytes', 'timeoutMs', 'family', 'tls'];

class Response {
  constructor({ status, version, headers, body, truncated, finalUrl, peer, timing: spent, tls }) {
    const named = headers.map(([name, value]) => [name.toLowerCase(), text(value)]);
    Object.assign(this, { status, version, headers: named, part: body, truncated, finalUrl, peer, timing: timing(spent), tls });
  }

  get ok() {
    return this.status >= 200 && this.status < 300;
  }

  header(name) {
    return this.headers.find(([key]) => key === name.toLowerCase())?.[1];
  }

  get body() {
    // Of a body that was cut nothing can be concluded, least of all that the target is down.
    if (this.truncated) throw NetError.limit('the body is larger than `maxBodyBytes`');
    return this.part;
  }

  text() {
    return text(this.body);
  }

  json() {
    const body = this.text();
    try {
      return JSON.parse(body);
    } catch (error) {
      throw NetError.protocol(`the body of ${this.finalUrl} is no JSON: ${error.message}`);
    }
  }
}

function send(method, url, options = {}) {
  known('an HTTP request', options, OPTIONS);
  const headers = Object.entries(options.headers ?? {}).map(([name, value]) => [name, { tag: 'text', val: String(value) }]);
  for (const [name, secret] of Object.entries(options.secretHeaders ?? {})) headers.push([name, { tag: 'secret', val: secret }]);
  let body = options.body;
  if (options.json !== undefined) {
    body = JSON.stringify(options.json);
    headers.push(['content-type', { tag: 'text', val: 'application/json' }]);
  }
  const request = {
    method,
    url: String(url),
    headers,
    body: body === undefined ? undefined : bytes(body),
    maxRedirects: options.maxRedirects ?? 0,
    maxResponseBytes: options.maxBodyBytes ?? MAX_BODY_BYTES,
    timeout: timeout(options.timeoutMs),
    family: family(options.family),
    tls: options.tls && tlsOptions(options.tls),
  };
  return new Response(dialling(() => host.http.send(request)));
}

export const http = {
  send,
  get: (url, options) => send('GET', url, options),
  post: (url, options) => send('POST', url, options),
};
