// What a run needs around it: a database of its own, a broker of its own, processes, and their end.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { childrenOf, cpuSeconds } from '../../peers/process.mjs'
import { startStathmos } from '../../peers/stathmos.mjs'
import { startPostgres } from '../../../tests/peers/postgres.mjs'
import { startRedis } from '../peers/redis.mjs'
import { startPart } from './part.mjs'

const SERVING = new URL('serving.mjs', import.meta.url)
const PEER_SERVING = new URL('peer-serving.mjs', import.meta.url)

/** Everything that is open, closed in the opposite order, whatever happened. */
export class World {
  #closing = []

  /** A fresh database that survives a power failure. @returns what it is, where, and the CPU seconds of its processes */
  async database(kind) {
    if (kind === 'sqlite') {
      const dir = mkdtempSync(join(tmpdir(), 'stathmos-sdk-bench-'))
      this.#closing.push(() => rmSync(dir, { recursive: true, force: true }))
      // It has no processes: its work is done in the service's.
      return { kind, place: join(dir, 'shop.db'), cpuSeconds: () => 0 }
    }
    const server = await startPostgres({ durable: true })
    this.#closing.push(() => server.stop())
    return { kind, place: server.url, cpuSeconds: () => cpuSeconds([server.pid, ...childrenOf(server.pid)]) }
  }

  async broker() {
    const broker = await startStathmos()
    this.#closing.push(() => broker.kill({ keep: false }))
    return broker
  }

  /** A process with a service in it; see serving.mjs for its verbs. */
  async serving({ kind, place }, options = {}) {
    const part = this.#part(SERVING)
    await part.ask('open', { kind, place, ...options })
    return part
  }

  /** A process with a peer in it, which has the same verbs. With `appendfsync` it gets a Redis. */
  async peer(name, database, { appendfsync, ...options } = {}) {
    let redisPort
    if (appendfsync !== undefined) {
      const redis = await startRedis(appendfsync)
      this.#closing.push(() => redis.stop())
      redisPort = redis.port
      const { cpuSeconds: ofDatabase } = database
      database.cpuSeconds = () => ofDatabase() + redis.cpuSeconds()
    }
    const part = this.#part(PEER_SERVING)
    const module = new URL(`../peers/${moduleOf(name)}.mjs`, import.meta.url).href
    await part.ask('open', { module, place: database.place, redisPort, ...options })
    return part
  }

  #part(file) {
    const part = startPart(file)
    this.#closing.push(() => part.end())
    return part
  }

  async close() {
    for (const close of this.#closing.splice(0).toReversed()) await close()
  }
}

/** Of `bullmq-always`, `bullmq`. */
function moduleOf(name) {
  return name.replace(/-(always|everysec|ordered)$/, '')
}
