import { Pattern } from './pattern.ts'

/** What somebody wants to do: make, change or delete; put messages in; take messages out. */
export type Operation = 'configure' | 'write' | 'read'

/** Per operation, a pattern that the names match on which it is allowed. See {@link Pattern}; an empty one allows none. */
export type Permission = Readonly<Record<Operation, string>>

interface Rule {
  readonly pattern: Pattern
  readonly decisions: Map<string, boolean>
}

/** A user's permission in one vhost, with the decisions made under it. */
export class Grant {
  readonly permission: Permission
  readonly #rules: Readonly<Record<Operation, Rule>>

  /** @throws {EngineError} `invalid_argument` when a pattern is not accepted */
  constructor(permission: Permission) {
    this.permission = permission
    this.#rules = { configure: rule(permission.configure), write: rule(permission.write), read: rule(permission.read) }
  }

  get decisionCount(): number {
    const { configure, write, read } = this.#rules
    return configure.decisions.size + write.decisions.size + read.decisions.size
  }

  /** The decision made before, if it is remembered. */
  known(operation: Operation, name: string): boolean | undefined {
    return this.#rules[operation].decisions.get(name)
  }

  decide(operation: Operation, name: string): boolean {
    return this.#rules[operation].pattern.matches(name)
  }

  /** @returns the decision */
  remember(operation: Operation, name: string, allowed: boolean): boolean {
    this.#rules[operation].decisions.set(name, allowed)
    return allowed
  }

  forget(): void {
    for (const { decisions } of Object.values(this.#rules)) decisions.clear()
  }
}

function rule(source: string): Rule {
  return { pattern: new Pattern(source), decisions: new Map() }
}
