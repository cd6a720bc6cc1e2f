// A client under torture: one role in one process, over one broker after the other. The parent says where the broker
// is; the worker says when it is under load, and when it has stopped. What the broker told it goes into its ledger.
//
//   fork('worker.mjs', [role, name, ledger, seed]);  -> { go: url, cycle }  <- { loaded }  -> { halt }  <- { halted }
import { setTimeout as sleep } from 'node:timers/promises'
import { Ledger } from './ledger.mjs'
import { ROLES } from './roles.mjs'
import { randomOf } from './random.mjs'

/** What a client still hears from a broker that was killed is in the socket's buffer, and read by then. */
const LAST_WORDS_MS = 1000

const [role, name, path, seed] = process.argv.slice(2)
const ledger = new Ledger(path)
const random = randomOf(`${seed}/${name}`)
/** Counts through all cycles: numbers of one worker never repeat. */
const numbers = { next: 0 }

let current = null

process.on('message', (order) => void obey(order))

async function obey({ go, cycle, halt, mode, bye }) {
  if (bye) {
    ledger.close()
    process.exit(0)
  }
  if (go !== undefined) {
    const run = { url: go, cycle, mode, name, ledger, random, numbers, stopping: false, stop: null }
    run.loaded = () => process.send({ loaded: true })
    current = run
    // Every error here is the broker's end, which is what this is about; what it means is for the checker to say.
    run.done = ROLES[role](run).catch((error) => process.send({ ended: String(error?.message ?? error) }))
  }
  if (halt && current !== null) {
    const run = current
    current = null
    run.stopping = true
    // The broker is usually dead by now, and clients differ in whether they notice: some wait for its answer for ever.
    const ended = Promise.resolve(run.stop?.()).then(() => Promise.race([run.done, run.lost ?? run.done]))
    await Promise.race([ended, sleep(LAST_WORDS_MS)])
    ledger.flush()
    process.send({ halted: true })
  }
}

process.on('disconnect', () => process.exit(1))
// amqplib reports a lost connection in several places at once; all of them mean the same.
process.on('uncaughtException', (error) => process.send?.({ ended: `uncaught: ${error.stack}` }))
