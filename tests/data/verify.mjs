// Verifies signatures with Node.js. Reads one case per line, and prints one verdict per line. A case is
// {"alg", "jwk", "message", "signature"}, with the signature in base64url. A verdict is true or false.
import crypto from "node:crypto";
import fs from "node:fs";

const { RSA_PKCS1_PADDING, RSA_PKCS1_PSS_PADDING, RSA_PSS_SALTLEN_DIGEST } = crypto.constants;

function isGood({ alg, jwk, message, signature }) {
  const hash = `sha${alg.slice(2)}`;
  const bytes = Buffer.from(message);
  const presented = Buffer.from(signature, "base64url");
  if (alg.startsWith("HS")) {
    const mac = crypto.createHmac(hash, Buffer.from(jwk.k, "base64url")).update(bytes).digest();
    return mac.length === presented.length && crypto.timingSafeEqual(mac, presented);
  }
  const key = crypto.createPublicKey({ key: jwk, format: "jwk" });
  switch (alg.slice(0, 2)) {
    case "RS":
      return crypto.verify(hash, bytes, { key, padding: RSA_PKCS1_PADDING }, presented);
    case "PS": {
      const saltLength = RSA_PSS_SALTLEN_DIGEST;
      return crypto.verify(hash, bytes, { key, padding: RSA_PKCS1_PSS_PADDING, saltLength }, presented);
    }
    case "ES":
      return crypto.verify(hash, bytes, { key, dsaEncoding: "ieee-p1363" }, presented);
    default:
      return crypto.verify(null, bytes, key, presented);
  }
}

const lines = fs.readFileSync(0, "utf8").split("\n").filter((line) => line !== "");
console.log(lines.map((line) => isGood(JSON.parse(line))).join("\n"));
