// The thread that derives keys from passwords. It is plain JavaScript, because a worker is started from a file and the
// tests run the sources: this one is the same before and after the build.
import { scryptSync } from 'node:crypto'
import { setPriority } from 'node:os'
import { parentPort } from 'node:worker_threads'

try {
  // On Linux this is the priority of this thread alone: the messages go first. Not the last one, or on a single core that
  // is busy a login would take longer than the handshake may.
  if (process.platform === 'linux') setPriority(15)
} catch {
  // A container may forbid it; the keys come out the same.
}

const port = /** @type {import('node:worker_threads').MessagePort} */ (parentPort)

/** @param {import('./key-deriver.ts').KeyRequest} request */
function derive({ id, password, salt, n, r, p, keyBytes, memoryBytesMax }) {
  // 128 * N * r is what scrypt needs; OpenSSL wants the limit to be above it.
  const key = scryptSync(password, salt, keyBytes, { N: n, r, p, maxmem: memoryBytesMax + 1024 * 1024 })
  port.postMessage({ id, key })
}

port.on('message', derive)
