// The worker, as a component sees it. Tests get lib/fake-host.js in its place (see `imports` in package.json).

import * as context from 'lapwing:plugin/context@1.0.0';
import * as dns from 'lapwing:plugin/dns@1.0.0';
import * as http from 'lapwing:plugin/http@1.0.0';
import * as log from 'lapwing:plugin/log@1.0.0';
import * as secrets from 'lapwing:plugin/secrets@1.0.0';
import * as state from 'lapwing:plugin/state@1.0.0';
import * as tcp from 'lapwing:plugin/tcp@1.0.0';
import * as udp from 'lapwing:plugin/udp@1.0.0';

export const host = { context, dns, http, log, secrets, state, tcp, udp };
