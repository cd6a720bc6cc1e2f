// With many messages waiting: how much memory, how long does a restart take, how fast do they drain?
import { setTimeout as sleep } from 'node:timers/promises'
import { mqload } from '../load/mqload.mjs'
import { residentMb } from '../peers/process.mjs'

/** What a broker still does in the background after the last confirm has this long to end. */
const SETTLE_MS = 3000

export const backlog = (label, count, target, peers) => ({
  name: `backlog-${label}`,
  title: `${count.toLocaleString('en')} messages of 128 B waiting`,
  target,
  peers,
  async measure(broker, { restart }) {
    const filled = await mqload(broker, { size: 128, persistent: 1, window: 2048, count })
    await sleep(SETTLE_MS)
    const waitingMb = residentMb(broker.pids())
    const clean = await restart(broker, 'stop')
    const killed = await restart(clean, 'kill')
    const restartedMb = residentMb(killed.pids())
    const drained = await mqload(killed, {
      size: 128,
      drain: count,
      purge: 0,
      cons: 1,
      prefetch: 2000,
      ackevery: 100,
    }).catch((error) => ({ error }))
    return {
      broker: killed,
      fillRate: filled.pub_s,
      residentMb: waitingMb,
      residentAfterRestartMb: restartedMb,
      restartMs: clean.readyMs,
      restartAfterKillMs: killed.readyMs,
      ...(drained.error === undefined
        ? { rate: drained.recv_s, cpuUs: drained.cpu_s_per_M }
        : { failed: `does not drain: ${drained.error.message.split('\n')[0].slice(0, 200)}` }),
    }
  },
})
