// Every question, in the order of the table. One file each (or one for a question that is asked of several sizes).
import { backlog } from './backlog.mjs'
import { endToEnd } from './end-to-end.mjs'
import { fanOut } from './fan-out.mjs'
import { fourQueues } from './four-queues.mjs'
import { idleConnections } from './idle-connections.mjs'
import { manyQueues } from './many-queues.mjs'
import { publishConfirm } from './publish-confirm.mjs'
import { steady } from './steady.mjs'
import { wrongPasswords } from './wrong-passwords.mjs'

export const QUESTIONS = [
  publishConfirm('16', 16, { rate: 1_000_000, cpuUs: 1.0 }),
  publishConfirm('128', 128, { rate: 900_000, cpuUs: 1.1 }),
  publishConfirm('1k', 1024, { rate: 350_000, cpuUs: 2.6 }),
  publishConfirm('16k', 16_384, { rate: 33_000, cpuUs: 25 }),
  publishConfirm('100k', 102_400, { rate: 6000, cpuUs: 150 }),
  fourQueues,
  endToEnd('16', 16, { rate: 500_000, cpuUs: 1.8 }),
  endToEnd('128', 128, { rate: 420_000, cpuUs: 2.0 }),
  endToEnd('1k', 1024, { rate: 200_000, cpuUs: 4.0 }),
  endToEnd('16k', 16_384, { rate: 24_000, cpuUs: 32 }),
  endToEnd('transient', 128, { rate: 500_000, cpuUs: 1.8 }, { persistent: 0 }),
  steady,
  wrongPasswords,
  manyQueues,
  fanOut,
  backlog('1m', 1_000_000, { residentMb: 120, restartMs: 500, rate: 650_000, cpuUs: 1.3 }),
  backlog('10m', 10_000_000, { residentMb: 256, restartMs: 2000 }, ['stathmos']),
  idleConnections,
]
