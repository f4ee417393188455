// Verifies access tokens with the library `jose` of the folder that it runs in. Reads one case per line, and prints
// one verdict per line. A case is {"token", "jwks" or "secret", "alg", "issuer", "audience", "now"}. A verdict is the
// payload, or the code of the error.
import fs from "node:fs";
import * as jose from "jose";

async function verdict({ token, jwks, secret, alg, issuer, audience, now }) {
  const key = jwks ? jose.createLocalJWKSet(jwks) : Buffer.from(secret, "base64url");
  const rules = { algorithms: [alg], typ: "at+jwt", issuer, audience, currentDate: new Date(now * 1000) };
  rules.requiredClaims = ["iss", "exp", "aud", "sub", "client_id", "iat", "jti"];
  try {
    return (await jose.jwtVerify(token, key, rules)).payload;
  } catch (error) {
    return error.code ?? String(error);
  }
}

const lines = fs.readFileSync(0, "utf8").split("\n").filter((line) => line !== "");
for (const line of lines) {
  console.log(JSON.stringify(await verdict(JSON.parse(line))));
}
