import { EngineError } from '../errors.ts'
import { Grant } from './grant.ts'
import type { Operation, Permission } from './grant.ts'

/** Somebody who may connect. What the hash is and how it is checked is the business of whoever authenticates. */
export interface User {
  readonly name: string
  readonly passwordHash: string
  /** Roles in the administration of the broker. They give no permission on messages. */
  readonly tags: readonly string[]
}

/** A permission together with whose it is, and where. */
export interface PermissionDefinition extends Permission {
  readonly user: string
  readonly vhost: string
}

/** Everything that {@link Access} knows, as plain values. */
export interface AccessDefinitions {
  readonly users: readonly User[]
  readonly permissions: readonly PermissionDefinition[]
}

/** One change of the definitions. Applying the changes of a journal in their order yields the same state. */
export type AccessChange =
  | { readonly kind: 'user_set'; readonly user: User }
  /** The user's permissions go too; no changes of their own tell of them. */
  | { readonly kind: 'user_deleted'; readonly name: string }
  | { readonly kind: 'permission_set'; readonly permission: PermissionDefinition }
  | { readonly kind: 'permission_cleared'; readonly user: string; readonly vhost: string }
  /** Every permission in the vhost is gone. */
  | { readonly kind: 'vhost_cleared'; readonly vhost: string }

/** Longest name of a user, in UTF-16 units: as long as names can be on the wire. */
export const USER_NAME_CHARS_MAX = 255

/**
 * Decisions that are remembered, over all users. Enough for every name in steady use; names come from clients, so
 * that at some 300 bytes each this is about 5 MiB. When it is reached, all are forgotten and made again as needed.
 */
export const DECISIONS_MAX = 16_384

/** Longest name whose decision is remembered. Names of queues and exchanges are no longer; others would undo the bound. */
const REMEMBERED_NAME_CHARS_MAX = 255

interface Account {
  user: User
  readonly grants: Map<string, Grant>
}

/** Who may do what: users, and per user and vhost three patterns over the names of queues and exchanges. */
export class Access {
  readonly #onChange: (change: AccessChange) => void
  readonly #accounts = new Map<string, Account>()
  #decisionCount = 0

  /**
   * @param onChange called after each change made through a method, in order, for the owner to persist; not by
   *   {@link apply} and {@link load}, which restore what was persisted
   */
  constructor(onChange: (change: AccessChange) => void = () => {}) {
    this.#onChange = onChange
  }

  user(name: string): User | undefined {
    return this.#accounts.get(name)?.user
  }

  users(): User[] {
    return Array.from(this.#accounts.values(), (account) => account.user)
  }

  /**
   * Makes the user, or changes hash and tags of the one there is; permissions stay as they are.
   *
   * @throws {EngineError} `invalid_argument` when the name is empty or longer than {@link USER_NAME_CHARS_MAX}
   */
  setUser(user: User): void {
    const { name, passwordHash } = user
    if (name === '' || name.length > USER_NAME_CHARS_MAX) {
      throw new EngineError(
        'invalid_argument',
        `a user's name has 1 to ${USER_NAME_CHARS_MAX} characters, not ${name.length}`,
      )
    }
    this.#change({ kind: 'user_set', user: { name, passwordHash, tags: [...user.tags] } })
  }

  /** @returns false when there was no such user */
  deleteUser(name: string): boolean {
    if (!this.#accounts.has(name)) return false
    this.#change({ kind: 'user_deleted', name })
    return true
  }

  permission(user: string, vhost: string): Permission | undefined {
    return this.#grant(user, vhost)?.permission
  }

  permissions(): PermissionDefinition[] {
    return Array.from(this.#accounts.values()).flatMap(({ user, grants }) =>
      Array.from(grants, ([vhost, { permission }]) => ({ user: user.name, vhost, ...permission })),
    )
  }

  /**
   * Lets the user into the vhost, with exactly these permissions. Whether the vhost exists is the owner's to check.
   *
   * @throws {EngineError} `user_not_found`; `invalid_argument` for a pattern that is not accepted (see `Pattern`)
   */
  setPermission(user: string, vhost: string, { configure, write, read }: Permission): void {
    this.#change({ kind: 'permission_set', permission: { user, vhost, configure, write, read } })
  }

  /** @returns false when the user had no permissions there */
  clearPermission(user: string, vhost: string): boolean {
    if (this.#grant(user, vhost) === undefined) return false
    this.#change({ kind: 'permission_cleared', user, vhost })
    return true
  }

  /** Takes away every permission in a vhost, so that a later one of the same name begins without any. */
  clearVHost(vhost: string): void {
    for (const { grants } of this.#accounts.values()) {
      if (!grants.has(vhost)) continue
      this.#change({ kind: 'vhost_cleared', vhost })
      return
    }
  }

  /** Whether the user has any permissions in the vhost, be they for no name at all. */
  mayEnter(user: string, vhost: string): boolean {
    return this.#grant(user, vhost) !== undefined
  }

  /** Whether the user may do this to the queue or exchange of that name. Decisions are remembered, at most {@link DECISIONS_MAX}. */
  permits(user: string, vhost: string, operation: Operation, resource: string): boolean {
    const grant = this.#grant(user, vhost)
    if (grant === undefined) return false
    const known = grant.known(operation, resource)
    if (known !== undefined) return known
    if (resource.length > REMEMBERED_NAME_CHARS_MAX) return grant.decide(operation, resource)
    if (this.#decisionCount === DECISIONS_MAX) this.#forgetDecisions()
    this.#decisionCount++
    return grant.remember(operation, resource, grant.decide(operation, resource))
  }

  definitions(): AccessDefinitions {
    return { users: this.users(), permissions: this.permissions() }
  }

  /**
   * Replaces everything by the given definitions, without reporting it. Nothing changes when one is refused.
   *
   * @throws {EngineError} as {@link setUser} and {@link setPermission}
   */
  load(definitions: AccessDefinitions): void {
    const fresh = new Access()
    for (const user of definitions.users) fresh.setUser(user)
    for (const permission of definitions.permissions) {
      fresh.setPermission(permission.user, permission.vhost, permission)
    }
    this.#accounts.clear()
    this.#decisionCount = 0
    for (const [name, account] of fresh.#accounts) this.#accounts.set(name, account)
  }

  /**
   * Repeats a change that was reported earlier, without reporting it again.
   *
   * @throws {EngineError} `user_not_found` and `invalid_argument` for a permission
   */
  apply(change: AccessChange): void {
    switch (change.kind) {
      case 'user_set': {
        const account = this.#accounts.get(change.user.name)
        if (account === undefined) this.#accounts.set(change.user.name, { user: change.user, grants: new Map() })
        else account.user = change.user
        return
      }
      case 'user_deleted':
        this.#accounts.get(change.name)?.grants.forEach((grant) => this.#release(grant))
        this.#accounts.delete(change.name)
        return
      case 'permission_set':
        this.#grantTo(change.permission)
        return
      case 'permission_cleared':
        this.#revoke(this.#accounts.get(change.user), change.vhost)
        return
      case 'vhost_cleared':
        for (const account of this.#accounts.values()) this.#revoke(account, change.vhost)
    }
  }

  #change(change: AccessChange): void {
    this.apply(change)
    this.#onChange(change)
  }

  #grant(user: string, vhost: string): Grant | undefined {
    return this.#accounts.get(user)?.grants.get(vhost)
  }

  #grantTo({ user, vhost, configure, write, read }: PermissionDefinition): void {
    const account = this.#accounts.get(user)
    if (account === undefined) {
      throw new EngineError('user_not_found', `there is no user "${user}"; add the user first`, { user })
    }
    // Made before the old one goes: a refused pattern must leave the old permission in force.
    const grant = new Grant({ configure, write, read })
    this.#revoke(account, vhost)
    account.grants.set(vhost, grant)
  }

  #revoke(account: Account | undefined, vhost: string): void {
    const grant = account?.grants.get(vhost)
    if (account === undefined || grant === undefined) return
    this.#release(grant)
    account.grants.delete(vhost)
  }

  #release(grant: Grant): void {
    this.#decisionCount -= grant.decisionCount
  }

  #forgetDecisions(): void {
    for (const { grants } of this.#accounts.values()) {
      for (const grant of grants.values()) grant.forget()
    }
    this.#decisionCount = 0
  }
}
