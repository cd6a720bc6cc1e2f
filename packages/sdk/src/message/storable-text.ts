/**
 * Whether every store can keep a text and every transport carry it: PostgreSQL has no NUL in texts, and halves of surrogate
 * pairs have no form in UTF-8.
 */
export function isStorable(text: string): boolean {
  return !/[\0\p{Cs}]/u.test(text)
}
