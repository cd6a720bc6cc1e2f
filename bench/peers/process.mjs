// What it takes to run a broker as a process: free ports, waiting, and the operating system's account of it.
import { readdirSync, readFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/** A port of loopback that nobody listens on now. */
export function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address()
      server.close(() => resolve(port))
    })
  })
}

/** Whether something accepts connections there. */
export function accepts(port) {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' })
    socket.once('connect', () => (socket.destroy(), resolve(true)))
    socket.once('error', () => resolve(false))
  })
}

/** Asks until the answer is true; `check` may throw to give up early. */
export async function until(ask, limitMs, check = () => {}, everyMs = 5) {
  const end = performance.now() + limitMs
  while (!(await ask())) {
    check()
    if (performance.now() > end) throw new Error(`not within ${limitMs} ms`)
    await sleep(everyMs)
  }
}

/** Every descendant of a process, parents first. */
export function childrenOf(pid) {
  const byParent = new Map()
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    const fields = stat(name)
    if (fields === undefined) continue
    const parent = Number(fields[1])
    byParent.set(parent, [...(byParent.get(parent) ?? []), Number(name)])
  }
  const found = []
  const open = [pid]
  while (open.length > 0) {
    const next = byParent.get(open.shift()) ?? []
    found.push(...next)
    open.push(...next)
  }
  return found
}

/** Fields of /proc/<pid>/stat from the state on; undefined when the process is gone. */
function stat(pid) {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return text.slice(text.lastIndexOf(')') + 2).split(' ')
  } catch {
    return undefined
  }
}

/** Linux counts CPU time in ticks of 10 ms. */
const TICKS_PER_SECOND = 100

/** User and system CPU seconds that these processes have used so far. */
export function cpuSeconds(pids) {
  let ticks = 0
  for (const pid of pids) {
    const fields = stat(pid)
    if (fields !== undefined) ticks += Number(fields[11]) + Number(fields[12])
  }
  return ticks / TICKS_PER_SECOND
}

/** Resident MiB of these processes together, as `VmRSS`, `RssAnon` or `VmHWM` says. */
export function residentMb(pids, field = 'VmRSS') {
  let kb = 0
  for (const pid of pids) {
    try {
      const line = readFileSync(`/proc/${pid}/status`, 'latin1').match(new RegExp(`^${field}:\\s+(\\d+)`, 'm'))
      if (line) kb += Number(line[1])
    } catch {
      // The process is gone: it holds nothing.
    }
  }
  return kb / 1024
}
