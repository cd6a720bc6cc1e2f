// Kills the broker under load, again and again, and asks afterwards whether every promise was kept.
//
//   npm run torture -- --cycles 25 --fault kill|power [--seed 7] [--broker stathmos|rabbitmq] [--sabotage nosync] [--keep]
//
// Clients in processes of their own publish, consume, settle, declare and transact, and write down what the broker told
// them (ledger.mjs). A random moment after the load begins the broker is killed, or the power of its disk is cut; then it
// starts again on what is left. At the end everything is drained, and an independent process judges (checker.mjs).
import amqplib from 'amqplib'
import { execFileSync, fork } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { startRabbitmq } from '../../bench/peers/rabbitmq.mjs'
import { startStathmos } from '../../bench/peers/stathmos.mjs'
import { Disk, whyNoPowerCut } from './disk.mjs'
import { Ledger } from './ledger.mjs'
import { randomOf } from './random.mjs'
import { sabotage } from './sabotage.mjs'
import { FAN, FAN_QUEUES, QUEUES } from './topology.mjs'

const WORKERS = [
  ['publisher', 'pub-a'],
  ['publisher', 'pub-b'],
  ['consumer', 'con-a'],
  ['mover', 'mov-a'],
  ['steward', 'ste-a'],
]
/** The fault comes this long after the load began. */
const FAULT_AFTER_MS = { min: 20, max: 220 }
/** Some brokers live longer, so that what takes many steps, such as a purge or a transaction, gets to its end. */
const LONGER_LIFE_SHARE = 0.2
const LONGER_LIFE_MS = { min: 220, max: 1000 }
/** Every so many starts one is killed before it is ready: recovery must survive that too. */
const KILLED_START_SHARE = 0.15
/** Longer than this nothing takes on the slowest machine; the run fails and says what it waited for. */
const PATIENCE_MS = 60_000
/** Hundreds of cycles leave hundreds of thousands of messages, and a client takes some ten thousand a second. */
const DRAIN_PATIENCE_MS = 900_000

/** Tortures a broker and reports; throws when the run itself did not work, not when a promise was broken. */
export async function torture(options) {
  const { cycles, fault, seed = Date.now() % 1_000_000, broker = 'stathmos', keep = false, log = () => {} } = options
  if (fault === 'power') {
    const reason = await whyNoPowerCut()
    if (reason !== null) throw new Error(reason)
  }
  const dir = mkdtempSync(join(tmpdir(), 'stathmos-torture-'))
  const ledgers = join(dir, 'ledgers')
  mkdirSync(ledgers)
  const disk = fault === 'power' ? new Disk(dir) : null
  const place = { dir: join(disk?.mountPoint ?? dir, 'data'), disk, broker, env: sabotage(options.sabotage) }
  const random = randomOf(seed)
  const workers = WORKERS.map(([role, name]) => new Worker(role, name, join(ledgers, `${name}.jsonl`), seed))
  const own = new Ledger(join(ledgers, 'torture.jsonl'))
  const restarts = []
  const endings = new Map()
  let passed = false
  try {
    for (let cycle = 1; cycle <= cycles; cycle++) {
      if (random() < KILLED_START_SHARE) await interruptedStart(place, random() * 150, own)
      const running = await start(place)
      restarts.push(running.readyMs)
      await declare(running.url, own, cycle === 1)
      const loaded = workers.map((worker) => worker.go(running.url, cycle))
      // Both publishers, so that the fault never comes before the load.
      await within(
        Promise.all(loaded.slice(0, 2)),
        () => `cycle ${cycle}: no load on ${running.url}\n${running.output?.()}`,
      )
      const { min, max } = random() < LONGER_LIFE_SHARE ? LONGER_LIFE_MS : FAULT_AFTER_MS
      await sleep(min + random() * (max - min))
      await strike(place, running, own)
      for (const ending of await Promise.all(
        workers.map((worker) => within(worker.halt(), () => `${worker.name} does not halt`)),
      )) {
        if (ending !== null) endings.set(ending, (endings.get(ending) ?? 0) + 1)
      }
      if (cycle % 10 === 0) log(`${cycle} of ${cycles}, last restart ${Math.round(running.readyMs)} ms`)
    }
    const running = await start(place)
    restarts.push(running.readyMs)
    await declare(running.url, own, false)
    await drain(running, workers, cycles + 1)
    const exitCode = await running.stop({ keep: true })
    if (broker === 'stathmos' && exitCode !== 0)
      throw new Error(`the last stop exited with ${exitCode}:\n${running.output()}`)
    for (const worker of workers) await worker.end()
    own.close()
    const verdict = judge(ledgers)
    passed = verdict.violationCount === 0
    const sorted = restarts.toSorted((a, b) => a - b)
    const restartMs = { p50: Math.round(sorted[sorted.length >> 1]), max: Math.round(sorted.at(-1)) }
    return { cycles, fault, seed, ...verdict, restartMs, endings: Object.fromEntries(endings), dir }
  } finally {
    for (const worker of workers) worker.kill()
    await place.running?.kill({ keep: true }).catch(() => {})
    // What was found wrong is kept to be looked at; a disk is kept as its image.
    await disk?.unmount().catch(() => {})
    if (keep || !passed) log(`kept: ${dir}`)
    else rmSync(dir, { recursive: true, force: true })
  }
}

async function start(place, onSpawn) {
  place.running =
    place.broker === 'rabbitmq'
      ? await startRabbitmq({ dir: place.dir })
      : await startStathmos({ dir: place.dir, env: place.env, onSpawn })
  return place.running
}

async function strike(place, running, ledger) {
  cutPower(place, ledger)
  await running.kill({ keep: true })
  place.running = null
  await restorePower(place, ledger)
}

function cutPower({ disk }, ledger) {
  if (disk !== null) ledger.write('power-off', { at: disk.cutPower() })
}

async function restorePower({ disk }, ledger) {
  if (disk === null) return
  await disk.unmount()
  disk.mount()
  ledger.write('power-on', {})
}

/** A start that is ended before, or just after, the broker is ready. */
async function interruptedStart(place, afterMs, ledger) {
  if (place.broker !== 'stathmos') return
  let child
  const ready = start(place, (spawned) => (child = spawned)).then(
    () => {},
    () => {},
  )
  const exited = new Promise((resolve) => child.once('exit', resolve))
  await sleep(afterMs)
  cutPower(place, ledger)
  child.kill('SIGKILL')
  await exited
  await ready
  place.running = null
  await restorePower(place, ledger)
}

/** Declares what the clients use, after looking whether what was declared before is still there. */
async function declare(url, ledger, first) {
  const connection = await amqplib.connect(url)
  connection.on('error', () => {})
  if (!first) {
    for (const { name } of QUEUES) ledger.write('seen', { name, exists: await exists(connection, name) })
  }
  const channel = await connection.createChannel()
  await channel.assertExchange(FAN, 'fanout', { durable: true })
  for (const { name, arguments: settings } of QUEUES) {
    ledger.write('declaring', { name })
    await channel.assertQueue(name, { durable: true, arguments: settings })
    ledger.write('declared', { name })
  }
  for (const queue of FAN_QUEUES) await channel.bindQueue(queue, FAN, '')
  await connection.close()
}

async function exists(connection, queue) {
  const channel = await connection.createChannel()
  channel.on('error', () => {})
  try {
    await channel.checkQueue(queue)
  } catch (error) {
    if (error.code === 404) return false
    throw error
  }
  await channel.close()
  return true
}

async function drain(running, workers, cycle) {
  const steward = workers.find(({ role }) => role === 'steward')
  const consumer = workers.find(({ role }) => role === 'consumer')
  // The steward looks once more at what it was told about names; the consumer takes everything there is.
  await within(steward.go(running.url, cycle), () => 'the steward does not come back')
  await steward.halt()
  const drained = consumer.drain(running.url, cycle)
  await within(drained, () => `the queues do not drain\n${running.output?.()}`, DRAIN_PATIENCE_MS)
  await consumer.halt()
}

/** The verdict comes from a process that has seen nothing but the ledgers. */
function judge(ledgers) {
  const checker = fileURLToPath(new URL('checker.mjs', import.meta.url))
  const options = { encoding: 'utf8', maxBuffer: 1 << 28 }
  try {
    return JSON.parse(execFileSync(process.execPath, ['--max-old-space-size=8192', checker, ledgers], options))
  } catch (error) {
    if (error.status === 1 && error.stdout) return JSON.parse(error.stdout)
    throw error
  }
}

async function within(promise, what, patienceMs = PATIENCE_MS) {
  let timer
  const late = new Promise((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(what())), patienceMs)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

class Worker {
  role
  name
  #child
  #heard = new Map()
  #ending = null

  constructor(role, name, ledger, seed) {
    this.role = role
    this.name = name
    this.#child = fork(fileURLToPath(new URL('worker.mjs', import.meta.url)), [role, name, ledger, String(seed)])
    this.#child.on('message', (message) => {
      if (message.ended !== undefined) this.#ending = `${role}: ${message.ended}`
      for (const word of Object.keys(message)) this.#heard.get(word)?.()
    })
  }

  /** Resolves when the worker has its first answer. */
  go(url, cycle) {
    this.#ending = null
    return this.#say({ go: url, cycle }, 'loaded')
  }

  /** Resolves when every queue is empty. */
  drain(url, cycle) {
    return this.#say({ go: url, cycle, mode: 'drain' }, 'drained')
  }

  /** Resolves when it has stopped, with what its role ended with, if that was an error. */
  async halt() {
    await this.#say({ halt: true }, 'halted')
    return this.#ending
  }

  async end() {
    const exited = new Promise((resolve) => this.#child.once('exit', resolve))
    this.#child.send({ bye: true })
    await exited
  }

  kill() {
    this.#child.kill('SIGKILL')
  }

  #say(message, answer) {
    const heard = new Promise((resolve) => this.#heard.set(answer, resolve))
    this.#child.send(message)
    return heard
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: {
      cycles: { type: 'string', default: '25' },
      fault: { type: 'string', default: 'kill' },
      seed: { type: 'string' },
      broker: { type: 'string', default: 'stathmos' },
      sabotage: { type: 'string' },
      keep: { type: 'boolean', default: false },
    },
  })
  if (values.fault === 'power') {
    const reason = await whyNoPowerCut()
    if (reason !== null) {
      console.log(`skipped: ${reason}`)
      process.exit(0)
    }
  }
  const began = performance.now()
  const report = await torture({ ...values, cycles: Number(values.cycles), log: (line) => console.log(line) })
  const { violations, ...rest } = report
  console.log(JSON.stringify({ ...rest, seconds: Math.round((performance.now() - began) / 1000) }, null, 2))
  for (const { invariant, text } of violations) console.log(`${invariant}: ${text}`)
  process.exit(report.violationCount === 0 ? 0 : 1)
}
