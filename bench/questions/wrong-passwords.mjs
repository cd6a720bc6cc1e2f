// Does somebody who guesses passwords slow the messages down? 200 wrong logins a second beside a steady load.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { compiled } from '../load/compile.mjs'
import { mqload } from '../load/mqload.mjs'
import { figures, timing } from './load.mjs'

const GUESSES_PER_SECOND = 200
const ROUNDS = 5
/** The code that refuses logins is compiled by then, and the heap has the size that it keeps. */
const GUESSING_WARM_MS = 15_000

export const wrongPasswords = {
  name: 'wrong-passwords',
  title: 'steady 5,000/s beside 200 wrong passwords a second',
  target: { confirmP99Factor: 2 },
  async measure(broker) {
    const quiet = await rounds(broker)
    const guesser = spawn(compiled('guess'), [String(broker.port), String(GUESSES_PER_SECOND)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let printed = ''
    guesser.stdout.on('data', (chunk) => (printed += chunk))
    const closed = once(guesser, 'close')
    await sleep(GUESSING_WARM_MS)
    const guessed = await rounds(broker)
    guesser.kill('SIGTERM')
    await closed
    const { attempts } = JSON.parse(printed)
    if (attempts < (GUESSES_PER_SECOND * GUESSING_WARM_MS) / 1000) throw new Error(`only ${attempts} guesses`)
    return {
      ...figures(guessed.last, guessed.last.recv_s),
      quietConfirmP99Ms: quiet.confirmP99Ms,
      confirmP99Ms: guessed.confirmP99Ms,
      confirmP99Factor: guessed.confirmP99Ms / quiet.confirmP99Ms,
    }
  },
}

async function rounds(broker) {
  const load = { size: 128, persistent: 1, rate: 5000, cons: 1, ackevery: 10, window: 5000, ...timing }
  const p99 = []
  let last
  for (let round = 0; round < ROUNDS; round++) {
    last = await mqload(broker, load)
    p99.push(last.conf_us.p99 / 1000)
  }
  return { confirmP99Ms: p99.toSorted((a, b) => a - b)[(ROUNDS - 1) >> 1], last }
}
