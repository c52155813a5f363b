/** What may be there at once. To wait for it all the same costs a small request as much as its own work. */
export type Awaitable<T> = T | Promise<T>

/** Waits for two at the same time; goes on at once where both are there. */
export function whenBoth<A, B, R>(a: Awaitable<A>, b: Awaitable<B>, next: (a: A, b: B) => Awaitable<R>): Awaitable<R> {
  if (a instanceof Promise || b instanceof Promise) return Promise.all([a, b]).then(([a, b]) => next(a, b))
  return next(a, b)
}

/** Goes on at once where the value is there. */
export function whenThere<T, R>(value: Awaitable<T>, next: (value: T) => Awaitable<R>): Awaitable<R> {
  return value instanceof Promise ? value.then(next) : next(value)
}
