# The dialogue with the runner.
LARGE = 'x' * (2 << 20)
URL = ENV.fetch('DATABASE_URL')
Phase = Struct.new(:name, :column, :star, :wide, :tag, :id)

def check(actual, expected)
  raise "#{actual.inspect[0, 200]} is not #{expected.inspect[0, 200]}" unless actual == expected
end

# A feature that fails does not keep the others from being used.
# recover: ends a transaction that one has left open.
def converse(driver, version, features, scenario, recover)
  $stdout.sync = true
  puts "ready #{version}"
  $stdin.each_line do |line|
    _, name, column, star, wide = line.split
    phase = Phase.new(name, column, star.split(','), wide == 'wide', "#{driver} #{name}")
    done = []
    errors = []
    features.each do |feature|
      next if feature == :wide && !phase.wide

      scenario.public_send(feature, phase)
      done << feature
    rescue StandardError => e
      errors << "#{feature}: #{e.class}: #{e.message[0, 300]}"
      recover.call
    end
    puts errors.empty? ? "ok #{done.join(',')}" : "error: #{errors.join('; ').tr("\n", ' ')}"
  end
end
