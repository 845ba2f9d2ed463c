using System.Globalization;
using Optim.Cli.Commands;

CultureInfo.DefaultThreadCurrentCulture = CultureInfo.DefaultThreadCurrentUICulture = CultureInfo.InvariantCulture;
CultureInfo.CurrentCulture = CultureInfo.CurrentUICulture = CultureInfo.InvariantCulture;

using var interruption = new Interruption();
var code = OptimCommand.Run(args, Console.Out, Console.Error, interruption.Token);
return code == OptimCommand.Interrupted ? interruption.ExitCode : code;
