interface Emitter {
  on(event: 'error', listener: () => void): unknown
}

const heard = new WeakSet<object>()

/**
 * Has a connection of `pg` that is lost fail what is asked of it next, and not end the process. Between two statements
 * nobody hears its `error` but who lent it: the pool listens to those that nobody has.
 */
export function surviving(client: object | undefined): void {
  if (client === undefined || heard.has(client)) return
  if (!('on' in client) || typeof client.on !== 'function' || !('release' in client)) return
  heard.add(client)
  ;(client as Emitter).on('error', () => {})
}
