// The independent judge: reads ledgers and finds every broken promise. It knows nothing of the broker.
//
//   I1  what was confirmed is delivered, and delivered again until it is settled
//   I2  nothing is delivered that was not published to that queue, or was rolled back, or has other bytes
//   I3  only the first delivery of a message may go unmarked
//   I4  a queue keeps the order of each publisher
//   I5  a transaction that was answered stays settled, and one that was not is whole or nothing
//   I6  what was purged or deleted stays away
//   I7  what was declared is there
//
//   node tests/torture/checker.mjs <directory of ledgers>
import { fileURLToPath } from 'node:url'
import { readLedgers } from './ledger.mjs'
import { DEAD_LETTERS, ORDERED } from './topology.mjs'

/** Finds every broken promise in a history that is sorted by time. */
export function audit(ledgers, topology = {}) {
  const events = withTheDeadInDoubt(ledgers)
  const history = gather(events)
  const ordered = new Set(topology.ordered ?? ORDERED)
  const violations = [
    ...phantoms(history),
    ...losses(history, topology.deadLetters ?? DEAD_LETTERS),
    ...unmarkedRepeats(history),
    ...disorder(history, ordered),
    ...transactions(history),
    ...resurrections(history),
    ...declarations(events),
  ]
  return { violations, counts: countsOf(events, history) }
}

/** What a client heard from the broker. Everything else it did itself. */
const HEARD = new Set([
  'confirm',
  'refuse',
  'deliver',
  'committed',
  'rolled-back',
  'declared',
  'deleted',
  'purged',
  'seen',
  'drained',
])

/**
 * Between the moment before its power was cut and its end nobody knows what a broker's word is worth: the cut takes
 * some time, and what was said before it took hold is true, and what was said after it would not have been heard. So
 * nothing that was promised then is owed; a delivery may have happened and may not, and so may what was done with it.
 */
function withTheDeadInDoubt(events) {
  let off = false
  const believed = []
  for (const event of events) {
    if (event.kind === 'power-off') off = true
    if (event.kind === 'power-on') off = false
    if (!off || !HEARD.has(event.kind)) believed.push(event)
    else if (event.kind === 'deliver') believed.push({ ...event, doubtful: true })
  }
  return believed
}

/** Everything about one message in one queue. */
const placeOf = (queue, id) => `${queue}\u0000${id}`

function gather(events) {
  const published = new Map()
  const confirmed = new Set()
  const places = new Map()
  const deliveries = []
  const begun = new Map()
  const committed = new Map()
  const rolledBack = new Set()
  const purging = new Map()
  const purged = new Map()
  const drained = new Set()
  const place = (queue, id) => {
    const key = placeOf(queue, id)
    let found = places.get(key)
    if (found === undefined) places.set(key, (found = { queue, id, events: [] }))
    return found
  }
  for (const event of events) {
    switch (event.kind) {
      case 'publish':
        published.set(event.id, event)
        break
      case 'confirm':
        confirmed.add(event.id)
        break
      case 'deliver':
        if (!event.doubtful) deliveries.push(event)
        place(event.queue, event.id).events.push(event)
        break
      case 'settle':
        place(event.queue, event.id).events.push(event)
        break
      case 'begin':
        begun.set(event.tx, event)
        for (const { queue, id } of event.takes) place(queue, id).events.push({ ...event, kind: 'take' })
        break
      case 'committed':
        committed.set(event.tx, event)
        break
      case 'rolled-back':
        rolledBack.add(event.tx)
        break
      case 'purging':
        for (const id of event.ids) purging.set(placeOf(event.queue, id), event)
        break
      case 'purged':
        for (const id of event.ids) purged.set(placeOf(event.queue, id), event)
        break
      case 'drained':
        drained.add(event.queue)
        break
      default:
        break
    }
  }
  // A transaction took effect if it was answered, or if anything that it put was ever delivered.
  const effective = new Set(committed.keys())
  for (const { id } of deliveries) {
    const { tx } = published.get(id) ?? {}
    if (tx !== undefined && !rolledBack.has(tx)) effective.add(tx)
  }
  return { published, confirmed, places, deliveries, begun, committed, rolledBack, effective, purging, purged, drained }
}

function* phantoms({ published, deliveries, rolledBack }) {
  for (const { queue, id, hash } of deliveries) {
    const publish = published.get(id)
    if (publish === undefined) yield { invariant: 'I2', text: `${queue} delivered ${id}, which nobody published` }
    else if (!publish.queues.includes(queue))
      yield { invariant: 'I2', text: `${queue} delivered ${id}, which was published to ${publish.queues}` }
    else if (publish.hash !== hash) yield { invariant: 'I2', text: `${queue} delivered ${id} with other bytes` }
    else if (rolledBack.has(publish.tx))
      yield { invariant: 'I2', text: `${queue} delivered ${id}, which was rolled back` }
  }
}

function* losses({ published, confirmed, places, committed, effective, purging, drained }, deadLetters) {
  const graves = new Set(Object.values(deadLetters))
  for (const publish of published.values()) {
    if (!publish.persistent) continue
    const sure = publish.tx === undefined ? confirmed.has(publish.id) : committed.has(publish.tx)
    for (const queue of publish.queues) {
      if (!drained.has(queue) || graves.has(queue)) continue
      const key = placeOf(queue, publish.id)
      if (purging.has(key)) continue
      const place = places.get(key)
      if (place === undefined) {
        if (sure) yield { invariant: 'I1', text: `${publish.id} was confirmed and never delivered by ${queue}` }
        continue
      }
      // Neither confirmed nor surely delivered: whatever became of it is right.
      if (!sure && place.events.every((event) => event.kind !== 'deliver' || event.doubtful)) continue
      const ending = endOf(place, effective)
      if (ending === 'held' || ending === 'release') {
        yield {
          invariant: 'I1',
          text: `${publish.id} was delivered by ${queue}, not settled (${ending}), and not delivered again`,
        }
      }
      const grave = deadLetters[queue]
      if (ending === 'reject' && grave !== undefined && drained.has(grave) && !places.has(placeOf(grave, publish.id))) {
        yield {
          invariant: 'I1',
          text: `${publish.id} was rejected by the consumer of ${queue} and never reached ${grave}`,
        }
      }
    }
  }
}

/** How the last delivery of a message by a queue ended. */
function endOf(place, effective) {
  let ending = 'held'
  for (const event of place.events) {
    if (event.kind === 'deliver') ending = 'held'
    else if (event.kind === 'settle') ending = event.outcome
    else if (effective.has(event.tx)) ending = 'accept'
  }
  return ending
}

function* unmarkedRepeats({ places }) {
  for (const { queue, id, events } of places.values()) {
    let seen = false
    for (const event of events) {
      if (event.kind !== 'deliver' || event.doubtful) continue
      if (seen && !event.redelivered)
        yield { invariant: 'I3', text: `${queue} delivered ${id} again without saying so` }
      seen = true
    }
  }
}

function* disorder({ deliveries, published }, ordered) {
  const firstTimes = new Map()
  const sessions = new Map()
  for (const { queue, id, redelivered, session } of deliveries) {
    const publish = published.get(id)
    if (!ordered.has(queue) || publish === undefined) continue
    // Whatever happened before, what is delivered for the first time comes in the order of its publisher.
    if (!redelivered) {
      const key = placeOf(queue, publish.by)
      const last = firstTimes.get(key) ?? -1
      if (publish.seq < last)
        yield {
          invariant: 'I4',
          text: `${queue} delivered ${id} for the first time after number ${last} of ${publish.by}`,
        }
      else firstTimes.set(key, publish.seq)
    }
    // Within one consumer's session so do the repeats, except for what that session itself gave back.
    const key = placeOf(session, publish.by)
    const known = sessions.get(key) ?? { last: -1, ids: new Set() }
    sessions.set(key, known)
    if (known.ids.has(id)) continue
    known.ids.add(id)
    if (publish.seq < known.last)
      yield {
        invariant: 'I4',
        text: `${queue} delivered ${id} to ${session} after number ${known.last} of ${publish.by}`,
      }
    else known.last = publish.seq
  }
}

function* transactions({ begun, committed, rolledBack, effective, places, published, drained }) {
  const puts = new Map()
  for (const publish of published.values()) {
    if (publish.tx !== undefined) puts.set(publish.tx, [...(puts.get(publish.tx) ?? []), publish])
  }
  for (const [tx, { takes, at }] of begun) {
    if (rolledBack.has(tx) || !effective.has(tx)) continue
    const since = committed.get(tx)?.at ?? at
    const answered = committed.has(tx) ? 'was committed' : 'took effect'
    for (const { queue, id } of takes) {
      const again = places
        .get(placeOf(queue, id))
        ?.events.find((event) => event.kind === 'deliver' && !event.doubtful && event.at > since)
      if (again !== undefined)
        yield {
          invariant: 'I5',
          text: `${queue} delivered ${id} again after transaction ${tx}, which took it, ${answered}`,
        }
    }
    // What took effect without an answer must have taken effect as a whole. An answered one is a matter of I1.
    if (committed.has(tx)) continue
    for (const { id, queues } of puts.get(tx) ?? []) {
      for (const queue of queues) {
        if (drained.has(queue) && !places.has(placeOf(queue, id))) {
          yield { invariant: 'I5', text: `transaction ${tx} took effect in part: ${id} never came from ${queue}` }
        }
      }
    }
  }
}

function* resurrections({ deliveries, purged }) {
  for (const { queue, id, at } of deliveries) {
    const purge = purged.get(placeOf(queue, id))
    if (purge !== undefined && at > purge.at)
      yield { invariant: 'I6', text: `${queue} delivered ${id} after it was purged` }
  }
}

function* declarations(events) {
  const known = new Map()
  for (const event of events) {
    switch (event.kind) {
      case 'declared':
        known.set(event.name, true)
        break
      case 'deleted':
        known.set(event.name, false)
        break
      case 'declaring':
      case 'deleting':
        // Until it is answered, both are right.
        known.delete(event.name)
        break
      case 'seen': {
        const expected = known.get(event.name)
        if (expected === true && !event.exists)
          yield { invariant: 'I7', text: `${event.name} was declared and is gone` }
        if (expected === false && event.exists) yield { invariant: 'I6', text: `${event.name} was deleted and is back` }
        known.set(event.name, event.exists)
        break
      }
      default:
        break
    }
  }
}

function countsOf(events, { confirmed, deliveries, committed }) {
  const of = (kind) => events.filter((event) => event.kind === kind).length
  return {
    published: of('publish'),
    confirmed: confirmed.size,
    delivered: deliveries.length,
    redelivered: deliveries.filter(({ redelivered }) => redelivered).length,
    settled: of('settle'),
    committed: committed.size,
    declared: of('declared'),
    purged: of('purged'),
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { violations, counts } = audit(readLedgers(process.argv[2]))
  console.log(JSON.stringify({ counts, violations: violations.slice(0, 50), violationCount: violations.length }))
  process.exitCode = violations.length === 0 ? 0 : 1
}
