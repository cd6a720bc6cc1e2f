// What the clients under torture do. Each role runs until its connection is lost or it is told to stop.
import { AMQPClient } from '@cloudamqp/amqp-client'
import amqplib from 'amqplib'
import { bodyOf, hashOf, idOf } from './body.mjs'
import {
  BACKLOG,
  COMPETING,
  CONSUMED,
  FAN,
  FAN_QUEUES,
  PLAIN,
  PRIORITY,
  PURGED,
  QUEUES,
  TX_IN,
  TX_OUT,
  WORK,
  DEAD,
} from './topology.mjs'

/** How many publishes wait for their confirm at most. */
const WINDOW = 200

/** Where a message goes: the queues that must have it, and how often it is chosen. */
const TARGETS = [
  { exchange: FAN, key: '', queues: FAN_QUEUES, weight: 3 },
  { exchange: '', key: PLAIN, queues: [PLAIN], weight: 3 },
  { exchange: '', key: WORK, queues: [WORK, DEAD], weight: 2 },
  { exchange: '', key: PRIORITY, queues: [PRIORITY], weight: 2 },
  { exchange: '', key: COMPETING, queues: [COMPETING], weight: 2 },
  { exchange: '', key: BACKLOG, queues: [BACKLOG], weight: 1 },
  { exchange: '', key: TX_IN, queues: [TX_IN], weight: 2 },
]
const WHEEL = TARGETS.flatMap((target) => Array.from({ length: target.weight }, () => target))

/** Mostly small; some as large as what brokers store apart. */
function sizeOf(random) {
  const chance = random()
  if (chance < 0.8) return 32 + Math.floor(random() * 480)
  if (chance < 0.98) return Math.floor(random() * 16_000)
  return 60_000 + Math.floor(random() * 150_000)
}

async function connect(run) {
  const connection = await amqplib.connect(run.url)
  const lost = new Promise((resolve) => {
    connection.once('close', resolve)
    connection.on('error', () => {})
  })
  run.lost = lost
  run.stop = async () => {
    const closing = connection.close().catch(() => {})
    // A broker that was killed says nothing more; its socket may not have noticed.
    await Promise.race([closing, lost])
  }
  return { connection, lost }
}

/** Publishes with confirms, to every kind of queue, as fast as confirms come back. */
async function publisher(run) {
  const { ledger, random, numbers } = run
  const { connection, lost } = await connect(run)
  const channel = await connection.createConfirmChannel()
  channel.on('error', () => {})
  let open = 0
  let wake = () => {}
  let ended = false
  void lost.then(() => {
    ended = true
    wake()
  })
  while (!ended && !run.stopping) {
    if (open >= WINDOW) {
      await new Promise((resolve) => (wake = resolve))
      continue
    }
    for (let i = 0; i < 20 && open < WINDOW; i++) {
      const target = WHEEL[Math.floor(random() * WHEEL.length)]
      const seq = numbers.next++
      const id = `${run.name}-${seq}`
      const persistent = random() < 0.95
      const body = bodyOf(id, sizeOf(random))
      ledger.write('publish', { id, queues: target.queues, persistent, hash: hashOf(body), by: run.name, seq })
      open++
      const options = { persistent, priority: Math.floor(random() * 6), headers: { id } }
      channel.publish(target.exchange, target.key, body, options, (error) => {
        open--
        // amqplib also calls back with an error when the connection is lost: that is no answer of the broker.
        if (error === null || error === undefined) ledger.write('confirm', { id })
        else if (error.message === 'message nacked') ledger.write('refuse', { id })
        run.loaded()
        wake()
      })
    }
    // Not as fast as it can: on two cores the other clients would hardly get a word in.
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  await lost
}

/** Consumes and settles in every way that there is; in mode 'drain' it accepts everything. */
async function consumer(run) {
  const { ledger, random } = run
  const { connection, lost } = await connect(run)
  const draining = run.mode === 'drain'
  const queues = draining ? QUEUES.map(({ name }) => name) : CONSUMED
  let count = 0
  for (const queue of queues) {
    const channel = await connection.createChannel()
    channel.on('error', () => {})
    await channel.prefetch(draining ? 500 : 50)
    const session = `${run.name}/${run.cycle}/${queue}/${count++}`
    /** In this consumer's hands: an acknowledgement of many settles all of them. */
    const hand = new Set()
    let due = 0
    const settle = (id, outcome) => {
      ledger.write('settle', { queue, id, outcome })
      hand.delete(id)
    }
    await channel.consume(queue, (message) => {
      if (message === null) return
      run.arrived = performance.now()
      const id = idOf(message.content)
      const { redelivered } = message.fields
      ledger.write('deliver', { queue, id, hash: hashOf(message.content), redelivered, session })
      hand.add(id)
      const chance = draining ? 0 : random()
      if (chance < 0.55) {
        settle(id, 'accept')
        channel.ack(message)
      } else if (chance < 0.75) {
        due++
        if (due < 10) return
        due = 0
        for (const each of hand) settle(each, 'accept')
        channel.ack(message, true)
      } else if (chance < 0.85 && !redelivered) {
        settle(id, 'release')
        channel.nack(message, false, true)
      } else if (chance < 0.95 && queue !== DEAD) {
        settle(id, 'reject')
        channel.reject(message, false)
      }
      // The rest stays in hand, until a later acknowledgement of many or until the connection ends: then it must come again.
    })
  }
  run.loaded()
  if (draining) await drained(run, connection, queues)
  await lost
}

/** Every queue is empty and nothing is in anybody's hands when nothing has arrived for a while and all counts are 0. */
async function drained(run, connection, queues) {
  const probe = await connection.createChannel()
  run.arrived ??= performance.now()
  for (;;) {
    const counts = await Promise.all(queues.map(async (queue) => (await probe.checkQueue(queue)).messageCount))
    if (counts.every((count) => count === 0) && performance.now() - run.arrived > 500) break
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  for (const queue of queues) run.ledger.write('drained', { queue })
  process.send({ drained: true })
}

/** Takes messages from one queue and puts others into the next, in transactions, of which it rolls some back. */
async function mover(run) {
  const client = new AMQPClient(run.url)
  const lost = new Promise((resolve) => {
    client.ondisconnect = resolve
    client.onerror = resolve
  })
  run.stop = async () => void (await Promise.race([client.close().catch(() => {}), lost]))
  run.lost = lost
  const { cycle, name, ledger, random, numbers } = run
  await client.connect()
  const channel = await client.channel()
  await channel.txSelect()
  const session = `${name}/${cycle}/${TX_IN}`
  for (;;) {
    const tx = `${name}-t${numbers.next++}`
    const takes = []
    for (let i = 0; i < 5; i++) {
      const message = await channel.basicGet(TX_IN, { noAck: false })
      if (message === null) break
      const body = Buffer.from(message.body)
      const id = idOf(body)
      ledger.write('deliver', { queue: TX_IN, id, hash: hashOf(body), redelivered: message.redelivered, session })
      takes.push({ id, message })
    }
    if (takes.length === 0) {
      await new Promise((resolve) => setTimeout(resolve, 2))
      continue
    }
    ledger.write('begin', { tx, takes: takes.map(({ id }) => ({ queue: TX_IN, id })) })
    for (const { id, message } of takes) {
      const out = `${tx}.${id}`
      const body = bodyOf(out, 32 + Math.floor(random() * 400))
      ledger.write('publish', {
        id: out,
        queues: [TX_OUT],
        persistent: true,
        hash: hashOf(body),
        by: name,
        seq: numbers.next++,
        tx,
      })
      await channel.basicPublish('', TX_OUT, body, { deliveryMode: 2 })
      await channel.basicAck(message.deliveryTag)
    }
    if (random() < 0.15) {
      await channel.txRollback()
      ledger.write('rolled-back', { tx })
      // The messages are still in hand; they go back to their places.
      await channel.basicNack(takes.at(-1).message.deliveryTag, true, true)
      for (const { id } of takes) ledger.write('settle', { queue: TX_IN, id, outcome: 'release' })
      await channel.txCommit()
    } else {
      await channel.txCommit()
      ledger.write('committed', { tx })
    }
    run.loaded()
  }
}

/** Declares, binds, deletes and purges; looks after each restart whether what it was told is still so. */
async function steward(run) {
  const { ledger, random, numbers } = run
  const { connection, lost } = await connect(run)
  let ended = false
  void lost.then(() => (ended = true))
  for (const name of names) {
    const exists = await bound(connection, name)
    ledger.write('seen', { name, exists })
    if (!exists) names.delete(name)
  }
  const channel = await connection.createConfirmChannel()
  channel.on('error', () => {})
  run.loaded()
  while (!ended && !run.stopping) {
    const chance = random()
    if (chance < 0.5 && names.size < NAME_COUNT_MAX) {
      const name = `torture.temporary.${run.name}.${numbers.next++}`
      ledger.write('declaring', { name })
      names.add(name)
      await channel.assertQueue(name, { durable: true })
      await channel.bindQueue(name, 'amq.direct', name)
      ledger.write('declared', { name })
    } else if (chance < 0.8 && names.size > 0) {
      const name = [...names][Math.floor(random() * names.size)]
      ledger.write('deleting', { name })
      await channel.deleteQueue(name)
      ledger.write('deleted', { name })
    } else {
      for (let i = 0; i < 10; i++) {
        const seq = numbers.next++
        const id = `${run.name}-${seq}`
        const body = bodyOf(id, 100)
        ledger.write('publish', { id, queues: [PURGED], persistent: true, hash: hashOf(body), by: run.name, seq })
        unpurged.add(id)
        channel.sendToQueue(PURGED, body, { persistent: true }, (error) => {
          if (error === null || error === undefined) ledger.write('confirm', { id })
        })
      }
      await channel.waitForConfirms()
      if (random() < 0.5) continue
      // Everything that was ever sent to this queue was sent before, on this channel or on one that is dead.
      const ids = [...unpurged]
      ledger.write('purging', { queue: PURGED, ids })
      await channel.purgeQueue(PURGED)
      ledger.write('purged', { queue: PURGED, ids })
      unpurged.clear()
    }
  }
  await lost
}

/** Enough for crashes to hit, few enough to look at all of them after each. */
const NAME_COUNT_MAX = 40
/** Queues that the steward has declared, in all cycles, until it has seen that they are gone. */
const names = new Set()
const unpurged = new Set()

/** Whether a queue is there and its binding leads to it. */
async function bound(connection, name) {
  const channel = await connection.createConfirmChannel()
  channel.on('error', () => {})
  const exists = await channel.checkQueue(name).then(
    () => true,
    (error) => {
      if (error.code === 404) return false
      throw error
    },
  )
  if (!exists) return false
  let returned = false
  channel.on('return', () => (returned = true))
  channel.publish('amq.direct', name, Buffer.from('probe'), { mandatory: true })
  await channel.waitForConfirms()
  await channel.close()
  return !returned
}

export const ROLES = { publisher, consumer, mover, steward }
