// A real OpenID provider for tests, told by its stdin what to be.
//
// Each line of stdin is a JSON object with `keys`, a list of private JWKs, and
// optionally `issuer`, by default the server's own URL. The provider becomes
// that, on the port it has, and answers with one line on stdout: its address,
// `{"port"}`, or what is wrong, `{"error"}`. The first key signs the access
// tokens. All else that is said goes to stderr. The end of stdin ends the
// process, so it never outlives the test that started it.
//
// Tokens are given to the client `harness` by the grant client_credentials. The
// resource `urn:audience:<name>` gives a JWT with the audience `<name>`.

import { createServer } from 'node:http';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import Provider from 'oidc-provider';

// oidc-provider tells its notices there, where a test reads the answers.
console.info = console.error;

const RESOURCE = 'urn:audience:';

const ALGORITHMS = { RSA: 'RS256', 'P-256': 'ES256', 'P-384': 'ES384', Ed25519: 'EdDSA' };

function provider(issuer, keys) {
  if (!keys?.length) throw new Error('there are no keys');
  const [first] = keys;
  const alg = first.alg ?? ALGORITHMS[first.crv ?? first.kty];
  return new Provider(issuer, {
    jwks: { keys },
    clients: [{
      client_id: 'harness',
      client_secret: 'public-and-protects-nothing',
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
      // No such token is issued, but the default needs an RSA key.
      id_token_signed_response_alg: alg,
    }],
    enabledJWA: { idTokenSigningAlgValues: [alg] },
    ttl: { ClientCredentials: 600 },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_ctx, resource) => ({
          audience: resource.slice(RESOURCE.length),
          scope: '',
          accessTokenFormat: 'jwt',
          // Several keys may fit the algorithm; the first is the one meant.
          jwt: { sign: { alg, kid: first.kid } },
        }),
      },
    },
  });
}

let handler;
const server = createServer((request, response) => handler(request, response));
server.listen(0, '127.0.0.1');
await once(server, 'listening');
const { port } = server.address();

for await (const line of createInterface({ input: process.stdin })) {
  let answer;
  try {
    const { issuer = `http://127.0.0.1:${port}`, keys } = JSON.parse(line);
    handler = provider(issuer, keys).callback();
    answer = { port };
  } catch (error) {
    answer = { error: error.message };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
process.exit();
