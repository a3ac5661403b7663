# Ruby pg, the library of ActiveRecord: text and binary results, prepared statements, pipelines.
require 'pg'
require 'timeout'
require_relative 'dialogue'

class Scenario
  def initialize
    @db = PG.connect(URL)
    @names = {}
  end

  attr_reader :db

  def statement(sql, *params, format: 0)
    @names[sql] ||= "s#{@names.size}".tap { |name| @db.prepare(name, sql) }
    @db.exec_prepared(@names[sql], params, format)
  end

  def amount(phase)
    statement('SELECT amount FROM orders WHERE id = $1', phase.id).getvalue(0, 0)
  end

  def prepared(phase)
    result = statement("INSERT INTO orders (amount, #{phase.column}) VALUES ($1, $2) RETURNING *", 41, phase.tag)
    check(result.fields, phase.star)
    phase.id = result.getvalue(0, 0)
    check(statement('UPDATE orders SET amount = amount + $1 WHERE id = $2', 1, phase.id).cmd_tuples, 1)
    check(amount(phase), '42')
    result = statement('SELECT * FROM orders WHERE id = $1', phase.id)
    check(result.fields, phase.star)
    check(result.values, [[phase.id, '42', phase.tag, nil]])
    # libpq tells of each result what is in it.
    result = statement('SELECT amount FROM orders WHERE id = $1', phase.id, format: 1)
    raw = result.getvalue(0, 0)
    check(raw.unpack1(raw.bytesize == 8 ? 'q>' : 'l>'), 42)
    check(raw.bytesize, phase.wide ? 8 : 4)
  end

  def null(phase)
    sql = "INSERT INTO orders (amount, #{phase.column}) VALUES ($1, $2) RETURNING amount"
    check(@db.exec_params(sql, [nil, phase.tag]).getvalue(0, 0), nil)
  end

  def upsert(phase)
    sql = "INSERT INTO orders (id, amount, #{phase.column}) VALUES ($1, $2, $3) " \
          'ON CONFLICT (id) DO UPDATE SET amount = excluded.amount + 1 RETURNING amount'
    check(statement(sql, phase.id, 5, phase.tag).getvalue(0, 0), '6')
  end

  def savepoint(phase)
    @db.exec('BEGIN')
    @db.exec_params('UPDATE orders SET amount = 100 WHERE id = $1', [phase.id])
    @db.exec('SAVEPOINT s')
    begin
      @db.exec_params("INSERT INTO orders (amount, #{phase.column}) VALUES ($1, $2)", [1, nil])
      raise 'no error'
    rescue PG::NotNullViolation => e
      check(e.result.error_field(PG::PG_DIAG_SQLSTATE), '23502')
    end
    @db.exec('ROLLBACK TO s')
    check(amount(phase), '100')
    @db.exec('ROLLBACK')
    check(amount(phase), '6')
  end

  def pipeline(phase)
    tag = "#{phase.tag} p"
    insert = "INSERT INTO orders (amount, #{phase.column}) VALUES ($1, $2)"
    @db.enter_pipeline_mode
    10.times { |n| @db.send_query_params(insert, [n, tag]) }
    @db.send_query_params("SELECT sum(amount)::int FROM orders WHERE #{phase.column} = $1", [tag])
    @db.pipeline_sync
    results = Array.new(11) do
      result = @db.get_result
      result.check
      check(@db.get_result, nil)
      result
    end
    check(@db.get_result.result_status, PG::PGRES_PIPELINE_SYNC)
    check(results.last.getvalue(0, 0), '45')
  ensure
    @db.exit_pipeline_mode
  end

  def copy(phase)
    tag = "#{phase.tag} c"
    @db.copy_data("COPY orders (amount, #{phase.column}) FROM STDIN", PG::TextEncoder::CopyRow.new) do
      [1, 2, nil].each { |n| @db.put_copy_data([n&.to_s, tag]) }
    end
    out = []
    sql = "COPY (SELECT amount FROM orders WHERE #{phase.column} = '#{tag}' ORDER BY 1) TO STDOUT"
    @db.copy_data(sql) { while (row = @db.get_copy_data) do out << row end }
    check(out, %W[1\n 2\n \\N\n])
    width = []
    @db.copy_data('COPY orders TO STDOUT') { while (row = @db.get_copy_data) do width |= [row.count("\t")] end }
    check(width, [phase.star.size - 1])
  end

  def cursor(phase)
    @db.transaction do
      @db.exec("DECLARE c CURSOR FOR SELECT * FROM orders WHERE #{phase.column} = 'seed' ORDER BY id")
      count = 0
      while (rows = @db.exec('FETCH 500 FROM c')).ntuples.positive?
        check(rows.fields, phase.star)
        count += rows.ntuples
      end
      check(count, 2000)
    end
  end

  def single_row(phase)
    @db.send_query_params("SELECT amount FROM orders WHERE #{phase.column} = $1", ['seed'])
    @db.set_single_row_mode
    count = 0
    @db.get_result.stream_each_row { count += 1 }
    check(count, 2000)
    @db.get_result
  end

  def large(phase)
    sql = "INSERT INTO orders (amount, #{phase.column}, payload) VALUES (7, $1, $2) RETURNING id, payload"
    row = statement(sql, phase.tag, LARGE)
    check(row.getvalue(0, 1) == LARGE, true)
    @db.exec_params('DELETE FROM orders WHERE id = $1', [row.getvalue(0, 0)])
  end

  def wide(phase)
    sql = "INSERT INTO orders (amount, #{phase.column}) VALUES ($1, $2) RETURNING id, amount"
    row = @db.exec_params(sql, [3_000_000_000, phase.tag])
    check(row.getvalue(0, 1), '3000000000')
    @db.exec_params('DELETE FROM orders WHERE id = $1', [row.getvalue(0, 0)])
  end

  def cancel(_phase)
    @db.send_query('SELECT pg_sleep(30)')
    # A cancel that comes before its query has begun is for nothing.
    other = PG.connect(URL)
    running = "SELECT 1 FROM pg_stat_activity WHERE pid = #{@db.backend_pid} AND wait_event = 'PgSleep'"
    Timeout.timeout(20) { nil until other.exec(running).ntuples == 1 }
    other.close
    @db.cancel
    begin
      @db.get_last_result
      raise 'not cancelled'
    rescue PG::QueryCanceled => e
      check(e.result.error_field(PG::PG_DIAG_SQLSTATE), '57014')
    end
  end

  def notify(phase)
    @db.exec('LISTEN orders_ruby')
    @db.exec_params("SELECT pg_notify('orders_ruby', $1)", [phase.tag])
    payload = nil
    check(@db.wait_for_notify(5) { |_, _, text| payload = text }, 'orders_ruby')
    check(payload, phase.tag)
  end

  def reconnect(phase)
    other = PG.connect(URL)
    check(other.exec_params('SELECT amount FROM orders WHERE id = $1', [phase.id]).getvalue(0, 0), '6')
    other.close
  end
end

FEATURES = %i[prepared null upsert savepoint pipeline copy cursor single_row large wide cancel notify reconnect].freeze

scenario = Scenario.new
converse('ruby', PG::VERSION, FEATURES, scenario, -> { scenario.db.exec('ROLLBACK') })
