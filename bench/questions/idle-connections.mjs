// What does a connection cost that says nothing? 10,000 of them, logged in, with a channel each.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { cpuSeconds, residentMb } from '../peers/process.mjs'

const COUNT = 10_000
/** Garbage of the log-ins has this long to be collected. */
const SETTLE_MS = 5000

export const idleConnections = {
  name: 'idle-10000',
  title: '10,000 idle connections',
  target: { connectionKb: 40 },
  async measure(broker) {
    const before = residentMb(broker.pids())
    const client = spawn(
      process.execPath,
      [fileURLToPath(new URL('../load/idle.mjs', import.meta.url)), String(broker.port), String(COUNT)],
      {
        stdio: ['pipe', 'pipe', 'inherit'],
      },
    )
    const began = performance.now()
    const exited = once(client, 'exit').then(([code]) => {
      throw new Error(`the idle client ended with ${code}`)
    })
    await Promise.race([once(client.stdout, 'data'), exited])
    const connectMs = performance.now() - began
    await sleep(SETTLE_MS)
    const residentNow = residentMb(broker.pids())
    const cpu = cpuSeconds(broker.pids())
    await sleep(2000)
    const idleCores = (cpuSeconds(broker.pids()) - cpu) / 2
    exited.catch(() => {})
    client.stdin.end()
    await once(client, 'exit').catch(() => {})
    return {
      connectionKb: ((residentNow - before) * 1024) / COUNT,
      residentMb: residentNow,
      connectsPerSecond: (COUNT * 1000) / connectMs,
      brokerCores: idleCores,
    }
  },
}
