import { BrokenPromise } from '@stathmos/testkit'

interface State {
  readonly serial: number
  readonly present: boolean
}

/** Accounts of what was declared and deleted, by name: the state known to be on disk, and those asked for since. */
export class Declarations {
  readonly #states = new Map<string, readonly State[]>()
  #serial = 0

  has(name: string): boolean {
    return this.#states.get(name)?.at(-1)?.present ?? false
  }

  changed(name: string, present: boolean): void {
    const states = this.#states.get(name) ?? [{ serial: 0, present: false }]
    this.#states.set(name, [...states, { serial: ++this.#serial, present }])
  }

  /** Returns what to call when everything asked for so far is known to be on disk. */
  asked(): () => void {
    const serial = this.#serial
    return () => {
      for (const [name, states] of this.#states) {
        const sure = states.findLastIndex((state) => state.serial <= serial)
        if (sure > 0) this.#states.set(name, states.slice(sure))
      }
    }
  }

  /** Compares the accounts with what a recovered broker has, which is the truth from now on. */
  survived(present: ReadonlySet<string>): void {
    for (const [name, states] of this.#states) {
      const there = present.has(name)
      if (!states.some((state) => state.present === there)) {
        throw new BrokenPromise(`${name} is ${there ? 'there again' : 'gone'}, and the answer said otherwise`)
      }
      this.#states.set(name, [{ serial: this.#serial, present: there }])
    }
  }
}
