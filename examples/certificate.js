'use strict';

const crypto = require('node:crypto');

// DER, the encoding of certificates: each value is a tag, a length and its content.

const TAG = {
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  objectIdentifier: 0x06,
  utf8String: 0x0c,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
  subjectAltDnsName: 0x82,
  subjectAltIpAddress: 0x87,
  version: 0xa0,
  extensions: 0xa3
};

/** Object identifiers, already encoded. */
const OID = {
  commonName: Buffer.from('550403', 'hex'),
  ecdsaWithSha256: Buffer.from('2a8648ce3d040302', 'hex'),
  subjectAltName: Buffer.from('551d11', 'hex')
};

/**
 * @param {number} tag
 * @param {...Buffer} parts
 * @returns {Buffer}
 */
function der(tag, ...parts) {
  const content = Buffer.concat(parts);
  // A length of 128 and more is written as the number of its bytes, then those.
  const size = content.length < 256 ? 1 : 2;
  const length = Buffer.alloc(size);
  length.writeUIntBE(content.length, 0, size);
  const head = content.length < 128 ? [tag] : [tag, 0x80 | size];

  return Buffer.concat([Buffer.from(head), length, content]);
}

/** @param {Date} date */
function time(date) {
  return der(TAG.generalizedTime, Buffer.from(date.toISOString().replace(/[-:T]|\.\d+/g, '')));
}

/** @param {Buffer} bytes */
function bitString(bytes) {
  return der(TAG.bitString, Buffer.from([0]), bytes);
}

/**
 * Makes a key and a certificate for localhost that is good for a day. It signs itself, so a client
 * trusts it by having it as its `ca`.
 *
 * @returns {{ cert: string, key: string }} as PEM
 */
function makeCertificate() {
  const { publicKey, privateKey } = crypto.generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const now = Date.now();
  const day = 24 * 60 * 60 * 1000;

  const algorithm = der(TAG.sequence, der(TAG.objectIdentifier, OID.ecdsaWithSha256));
  const name = der(
    TAG.sequence,
    der(
      TAG.set,
      der(
        TAG.sequence,
        der(TAG.objectIdentifier, OID.commonName),
        der(TAG.utf8String, Buffer.from('localhost'))
      )
    )
  );
  const hosts = der(
    TAG.sequence,
    der(TAG.subjectAltDnsName, Buffer.from('localhost')),
    der(TAG.subjectAltIpAddress, Buffer.from([127, 0, 0, 1]))
  );
  const extension = der(
    TAG.sequence,
    der(TAG.objectIdentifier, OID.subjectAltName),
    der(TAG.octetString, hosts)
  );
  const body = der(
    TAG.sequence,
    der(TAG.version, der(TAG.integer, Buffer.from([2]))),
    // A leading byte below 128 keeps the serial number positive.
    der(TAG.integer, Buffer.from([1]), crypto.randomBytes(15)),
    algorithm,
    name,
    der(TAG.sequence, time(new Date(now - day)), time(new Date(now + day))),
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
    der(TAG.extensions, der(TAG.sequence, extension))
  );
  const signature = crypto.sign('sha256', body, privateKey);
  const certificate = der(TAG.sequence, body, algorithm, bitString(signature));
  const lines = certificate.toString('base64').replace(/.{64}/g, '$&\n').trimEnd();

  return {
    cert: `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`,
    key: privateKey.export({ type: 'pkcs8', format: 'pem' })
  };
}

module.exports = { makeCertificate };
