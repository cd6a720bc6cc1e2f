import { SdkError } from '../errors.ts'
import type { Store } from '../store/port.ts'
import type { Faults } from './faults.ts'

const lost = (): SdkError =>
  new SdkError('store_down', 'the connection to the database was lost, because a test wanted it', { retryable: true })

/**
 * A store as a process sees it that may die, or lose its connection, before and after each of its calls. Steps have the
 * names of the calls: `outbox.add`, `inbox.claim`, `now`, …; a transaction's are `transaction` before it begins and
 * `commit` before and after its commit. The store underneath goes on for others.
 */
export function injectStore<Tx>(store: Store<Tx>, faults: Faults): Store<Tx> {
  const simple = <T>(call: string, work: () => Promise<T>): Promise<T> => faults.around(call, lost, work)
  return {
    name: store.name,
    oneWriter: store.oneWriter ?? false,
    outbox: injected(store.outbox, 'outbox', faults),
    timers: injected(store.timers, 'timers', faults),
    inbox: injected(store.inbox, 'inbox', faults),
    schedules: injected(store.schedules, 'schedules', faults),
    rates: injected(store.rates, 'rates', faults),
    register: injected(store.register, 'register', faults),
    isTransaction: (handle): handle is Tx => store.isTransaction(handle),
    async transaction(work) {
      await faults.pass('transaction', 'before', lost)
      const result = await faults.whileAlive(() =>
        store.transaction((tx) =>
          faults.orDie(async () => {
            const done = await work(tx)
            await faults.pass('commit', 'before', lost)
            return done
          }),
        ),
      )
      await faults.pass('commit', 'after', lost)
      return result
    },
    migrate: () => simple('migrate', () => store.migrate()),
    check: () => simple('check', () => store.check()),
    now: (tx) => simple('now', () => store.now(tx)),
    notify: () => simple('notify', () => store.notify()),
    close: () => simple('close', () => store.close()),
    watch(changed) {
      const end = store.watch(changed)
      faults.onCrash(end)
      return end
    },
  }
}

/** A part of a store, all of whose members are calls that give promises. */
function injected<Part extends object>(part: Part, name: string, faults: Faults): Part {
  return new Proxy(part, {
    get(target, member) {
      const call: unknown = Reflect.get(target, member, target)
      if (typeof call !== 'function') return call
      return (...args: unknown[]) =>
        faults.around(`${name}.${String(member)}`, lost, () => Reflect.apply(call, target, args) as Promise<unknown>)
    },
  })
}
