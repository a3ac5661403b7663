# ActiveRecord: models that read their columns from the catalogs, once, when they are first used.
require 'active_record'
require_relative 'dialogue'

ActiveRecord::Base.establish_connection(URL)

# A model as an application has it that is started now: the catalogs are read again.
def start
  ActiveRecord::Base.connection.schema_cache.clear!
  Class.new(ActiveRecord::Base) do
    self.table_name = 'orders'
    def self.name = 'Order'
  end.tap(&:columns)
end

class Scenario
  def initialize
    @models = { 'note' => start }
  end

  # The application is changed before the column's old name goes; until then nobody restarts it.
  def orders(phase) = @models[phase.column] ||= start

  def db = ActiveRecord::Base.connection

  def model(phase)
    made = orders(phase).create!(amount: 41, phase.column => phase.tag)
    phase.id = made.id
    made.increment!(:amount)
    check(orders(phase).find(phase.id).amount, 42)
    made.reload
    check(made.attributes.keys, phase.star)
    made.update!(amount: nil)
    check(orders(phase).where(amount: nil, id: phase.id).pluck(:amount), [nil])
    made.update!(amount: 42)
  end

  # What an application sees that is started in this phase.
  def started(phase)
    fresh = start
    row = fresh.find(phase.id)
    check(row.attributes.keys, phase.star)
    row.update!(amount: 43)
    check(fresh.find_by!(amount: 43, phase.column => phase.tag).id, phase.id)
    fresh.create!(amount: 44, phase.column => "#{phase.tag} s").destroy!
  end

  # The default of Rails 7: an INSERT names every column that the catalogs show.
  def full(phase)
    fresh = start
    fresh.partial_writes = false
    made = fresh.create!(amount: 45, phase.column => "#{phase.tag} f")
    row = orders(phase).where(id: made.id)
    check(row.pluck(:amount, phase.column), [[45, "#{phase.tag} f"]])
    row.destroy_all
  end

  def sql(phase)
    result = db.exec_query('SELECT * FROM orders WHERE id = $1', 'SQL', [phase.id], prepare: true)
    check(result.columns, phase.star)
    check(result.rows.first.first(3), [phase.id, 43, phase.tag])
  end

  def upsert(phase)
    orders(phase).upsert({ id: phase.id, amount: 6, phase.column => phase.tag, payload: nil })
    check(orders(phase).find(phase.id).amount, 6)
  end

  def batch(phase)
    tag = "#{phase.tag} b"
    rows = Array.new(100) { |n| { amount: n, phase.column => tag } }
    check(orders(phase).insert_all!(rows).length, 100)
    mine = orders(phase).where(phase.column => tag)
    check(mine.update_all('amount = amount + 1'), 100)
    check(mine.sum(:amount), 5050)
    seen = 0
    mine.find_each(batch_size: 30) { |row| seen += row.amount }
    check(seen, 5050)
  end

  def savepoint(phase)
    orders(phase).transaction do
      orders(phase).find(phase.id).update!(amount: 100)
      begin
        orders(phase).transaction(requires_new: true) { orders(phase).create!(amount: 1) }
        raise 'no error'
      rescue ActiveRecord::NotNullViolation => e
        check(e.cause.result.error_field(PG::PG_DIAG_SQLSTATE), '23502')
      end
      check(orders(phase).find(phase.id).amount, 100)
      raise ActiveRecord::Rollback
    end
    check(orders(phase).find(phase.id).amount, 6)
  end

  def lock(phase)
    orders(phase).find(phase.id).with_lock do
      check(orders(phase).lock.where(phase.column => 'seed').order(:id).last.amount, 2000)
    end
  end

  def large(phase)
    made = orders(phase).create!(phase.column => phase.tag, payload: LARGE)
    check(orders(phase).find(made.id).payload == LARGE, true)
    made.destroy!
  end

  # An application knows the type as it was when it started.
  def wide(phase)
    made = start.create!(amount: 3_000_000_000, phase.column => phase.tag)
    check(orders(phase).find(made.id).amount, 3_000_000_000)
    made.destroy!
  end
end

FEATURES = %i[model started full sql upsert batch savepoint lock large wide].freeze

recover = -> { ActiveRecord::Base.connection.execute('ROLLBACK') }
converse('active_record', ActiveRecord.version, FEATURES, Scenario.new, recover)
