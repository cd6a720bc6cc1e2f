// The thread that derives keys from passwords. It is plain JavaScript, because a worker is started from a file and the
// tests run the sources: this one is the same before and after the build.
import { scryptSync } from 'node:crypto'
import { setPriority } from 'node:os'
import { parentPort } from 'node:worker_threads'

try {
  // On Linux this is the priority of this thread alone: who guesses passwords must not slow the messages down.
  if (process.platform === 'linux') setPriority(5)
} catch {
  // A container may forbid it; the keys come out the same.
}

const port = /** @type {import('node:worker_threads').MessagePort} */ (parentPort)

const nap = new Int32Array(new SharedArrayBuffer(4))
let endedMs = Number.NEGATIVE_INFINITY

/** @param {import('./key-deriver.ts').KeyRequest} request */
function derive({ id, password, salt, n, r, p, keyBytes, memoryBytesMax }) {
  const beganMs = performance.now()
  // 128 * N * r is what scrypt needs; OpenSSL wants the limit to be above it.
  const key = scryptSync(password, salt, keyBytes, { N: n, r, p, maxmem: memoryBytesMax + 1024 * 1024 })
  port.postMessage({ id, key })
  // A single login is served at once. In a flood the thread rests as long as it works: scrypt takes the caches and the
  // memory's bandwidth from the thread that moves messages, whatever its priority.
  const tookMs = performance.now() - beganMs
  if (beganMs - endedMs < tookMs) Atomics.wait(nap, 0, 0, tookMs)
  endedMs = performance.now()
}

port.on('message', derive)
